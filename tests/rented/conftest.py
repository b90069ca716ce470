from tests.rented.machines import machines, stock

__all__ = ["machines", "stock"]
