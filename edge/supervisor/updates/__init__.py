"""Models over the air: fetched, tried beside the model that serves, promoted, taken back."""
