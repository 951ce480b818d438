"""Alembic's environment for the tables that kdsearch adds to a study's database."""
