"""How an update is put together when it is more than one gradient."""
