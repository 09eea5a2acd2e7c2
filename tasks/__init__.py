"""Training tasks, one package each; used from the repository, not part of the installed package."""
