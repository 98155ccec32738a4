"""From an execution's tables to statistics, figures and one report; imports neither torch, ray, mlflow nor optuna."""
