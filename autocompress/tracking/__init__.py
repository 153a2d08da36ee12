"""MLflow: a view of the study, the registry, the web pages."""
