"""The catalogue of models: `vaetune.models.configs.CATALOGUE` maps each kind to its configuration, which builds it."""
