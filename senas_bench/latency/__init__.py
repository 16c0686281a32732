"""Latency of archs: measured per operator, and added up from look-up tables."""
