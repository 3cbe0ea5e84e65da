"""A store gives pictures by their place: it decodes them from files, or keeps in RAM what another store decoded."""

from fewmask.data.size import Resize, target_size
from fewmask.data.store.files import FileStore
from fewmask.data.store.memory import MemoryStore, fits_in_memory
from fewmask.data.store.resize import resized_images, resized_labels
from fewmask.data.store.store import Picture, Store, every_picture

__all__ = [
    "FileStore",
    "MemoryStore",
    "Picture",
    "Resize",
    "Store",
    "every_picture",
    "fits_in_memory",
    "resized_images",
    "resized_labels",
    "target_size",
]
