"""The other places a program can run: plain processes, this process, a Ray cluster, a server."""
