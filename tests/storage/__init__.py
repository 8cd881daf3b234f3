"""Tests of the durable log and the data folder."""
