"""fedid: the identities of machine-learning federations, kept true in Keycloak, Vault and Kubernetes."""

__all__ = ["__version__"]

__version__ = "0.1.0"
