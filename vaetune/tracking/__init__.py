"""MLflow: the only package that imports it, and only once a `Tracker` with an address has been started.

tracker.py   Tracker: what the runner calls
pump.py      the thread: gather, try again, give up
writer.py    events to calls: which run, what order, what batches
server.py    MLflow's client with explicit run ids, and its failures in three kinds
spool.py     the file in which events wait
limits.py    names and values as MLflow takes them
address.py   where runs may go; the sqlite file and its lock
views.py     the experiment's note, saved views and links
inputs.py    the images that a run saw
backup.py    a copy of a SQLite database for a storage root in S3
shelf.py     what was put up, and the way back
publisher.py what is put up at the end: models.py (registry), parts.py, pictures.py, card.py; imports torch
"""

from vaetune.tracking.tracker import Tracker
from vaetune.tracking.views import about, charted, links, note

__all__ = ["Tracker", "about", "charted", "links", "note"]
