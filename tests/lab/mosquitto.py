"""The laboratory's own, by the name that the tests know it by."""

from bench.lab.mosquitto import MosquittoBroker, mosquitto

__all__ = ["MosquittoBroker", "mosquitto"]
