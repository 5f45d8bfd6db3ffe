"""Measurements of the method and of the platform; nothing here is imported by `hiper` or `services`."""
