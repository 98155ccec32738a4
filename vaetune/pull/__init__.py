"""From a study that ran back to a model or to pandas: in a notebook, or with `python -m vaetune.pull`.

pulled.py    Pulled: a model that is ready to use, with all that is known of it
loading.py   load and load_all, from MLflow, a run id, a folder or S3
folders.py   where an execution's folder is, and which replicate of an arm is best
frames.py    tables
copying.py   whole results to another folder, never half a file
reaching.py  what the network refuses, as a message
transform.py from anybody's images to what a model takes

`vaetune.load`, `vaetune.load_all` and `vaetune.tables` are these; importing this package imports nothing heavy.
"""
