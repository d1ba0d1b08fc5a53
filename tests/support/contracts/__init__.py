"""What every implementation of a protocol promises, as test classes to inherit from.

A contract asks for what it needs as fixtures and says in its docstring what it promises; a test
module of the implementation's room inherits it and provides the fixtures.
"""
