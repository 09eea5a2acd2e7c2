"""Not in Table 6: ResNet-20, row QAT+AUSAM, taught by the float network.

Hinton et al. (2015), Mishra and Marr (2018): half of the loss is the distance from the float
network's scores at temperature 4, for each sample.
"""

_base_ = ["./resnet20_cifar_ausam.py"]

model = dict(distillation=dict(weight=0.5, temperature=4.0))
