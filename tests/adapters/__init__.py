"""What an adapter does beyond its port: against the real servers, and through a proxy that breaks them."""
