"""Agents: policies and the algorithms that train them."""
