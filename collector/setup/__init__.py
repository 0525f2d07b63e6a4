"""What is installed elsewhere: templates and retention in Elasticsearch."""
