"""The target `ibm`."""
