"""A client of the web service, blocking (`Client`) and not (`AsyncClient`)."""

from tellapart.client.answers import Health, Prediction
from tellapart.client.clients import AsyncClient, Client
from tellapart.client.images import Image

__all__ = ["AsyncClient", "Client", "Health", "Image", "Prediction"]
