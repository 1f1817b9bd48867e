"""Models over the air: fetched, tried, run in the shadow, promoted, and taken back where need be."""
