"""Verifiers: a goal and its premises in, **proved**, **refuted** or **unknown** out, within limits that hold."""
