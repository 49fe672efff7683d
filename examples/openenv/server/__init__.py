"""The server of the package `torl_math` for OpenEnv."""
