"""The console port: health and metrics for machines; the web page and its API come to the same port."""
