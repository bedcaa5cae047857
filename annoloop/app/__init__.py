"""The local app: a page for labelling and a page to start from, served by one process."""
