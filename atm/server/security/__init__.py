"""Secrets: how PINs are sealed before anything keeps or forwards them."""
