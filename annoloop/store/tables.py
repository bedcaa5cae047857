"""The tables as SQLAlchemy sees them; migrations.py makes them, a test holds the two together."""

from __future__ import annotations

from sqlalchemy import JSON, BigInteger, Boolean, Column, Float, Integer, MetaData, Table, Text

metadata = MetaData()

classes = Table(
    "classes",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("name", Text, nullable=False, unique=True),
    Column("rules", JSON, nullable=False),
)

samples = Table(
    "samples",
    metadata,
    Column("id", Text, primary_key=True),
    Column("path", Text, nullable=False, unique=True),
    Column("uri", Text, nullable=False),
    Column("width", Integer, nullable=False),
    Column("height", Integer, nullable=False),
    Column("sha256", Text, nullable=False),
    Column("bytes", BigInteger, nullable=False),
    Column("group_name", Text),
    Column("split", Text),
    Column("half", Text),
    Column("status", Text, nullable=False),
    Column("why", Text),
    Column("external_id", Text),
    Column("added_at", Text, nullable=False),
)

references = Table(
    "reference_labels",
    metadata,
    Column("seq", Integer, primary_key=True),
    Column("sample_id", Text, nullable=False),
    Column("version", Integer, nullable=False),
    Column("labels", JSON, nullable=False),
    Column("source", Text, nullable=False),
    Column("who", Text, nullable=False),
    Column("at", Text, nullable=False),
)

near_duplicates = Table(
    "near_duplicates",
    metadata,
    Column("first_id", Text, primary_key=True),
    Column("second_id", Text, primary_key=True),
    Column("binding", Boolean, nullable=False),
)

batches = Table(
    "batches",
    metadata,
    Column("name", Text, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("number", Integer, nullable=False),
    Column("asked", Integer, nullable=False),
    Column("seed", Integer, nullable=False),
    Column("created_at", Text, nullable=False),
    Column("closed_at", Text),
    Column("report", JSON, nullable=False),
)

picks = Table(
    "picks",
    metadata,
    Column("batch", Text, primary_key=True),
    Column("sample_id", Text, primary_key=True),
    Column("position", Integer, nullable=False),
    Column("blind", Boolean, nullable=False),
    Column("source", Text, nullable=False),
    Column("rank", Integer, nullable=False),
    Column("score", Float, nullable=False),
    Column("reason", Text, nullable=False),
    Column("details", JSON, nullable=False),
)

answers = Table(
    "annotations",
    metadata,
    Column("seq", Integer, primary_key=True),
    Column("sample_id", Text, nullable=False),
    Column("batch", Text, nullable=False),
    Column("annotator", Text, nullable=False),
    Column("answer", Text, nullable=False),
    Column("labels", JSON, nullable=False),
    Column("why", Text),
    Column("seconds", Float),
    Column("origin", Text, nullable=False),
    Column("at", Text, nullable=False),
)

leases = Table(
    "leases",
    metadata,
    Column("batch", Text, primary_key=True),
    Column("sample_id", Text, primary_key=True),
    Column("annotator", Text, primary_key=True),
    Column("until", Text, nullable=False),
    Column("tab", Text, nullable=False),
    Column("revision", Integer, nullable=False),
    Column("boxes", JSON(none_as_null=True)),
    Column("why", Text),
    Column("seconds", Float, nullable=False),
)

prelabels = Table(
    "prelabels",
    metadata,
    Column("batch", Text, primary_key=True),
    Column("sample_id", Text, primary_key=True),
    Column("model", Text, nullable=False),
    Column("blank", Boolean, nullable=False),
    Column("labels", JSON, nullable=False),
    Column("at", Text, nullable=False),
)

iterations = Table(
    "iterations",
    metadata,
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("batch", Text, nullable=False, unique=True),
    Column("opened_at", Text, nullable=False),
    Column("settings", JSON, nullable=False),
)

steps = Table(
    "steps",
    metadata,
    Column("seq", Integer, primary_key=True),
    Column("iteration", Integer, nullable=False),
    Column("step", Text, nullable=False),
    Column("at", Text, nullable=False),
    Column("who", Text, nullable=False),
    Column("record", JSON, nullable=False),
)

failures = Table(
    "failures",
    metadata,
    Column("seq", Integer, primary_key=True),
    Column("evaluation", Integer, nullable=False),
    Column("sample_id", Text, nullable=False),
    Column("type", Text, nullable=False),
    Column("class_id", Integer, nullable=False),
    Column("x", Float, nullable=False),
    Column("y", Float, nullable=False),
    Column("w", Float, nullable=False),
    Column("h", Float, nullable=False),
    Column("score", Float),
    Column("truth_class_id", Integer),
    Column("iou", Float, nullable=False),
    Column("price", Float, nullable=False),
)

image_results = Table(
    "image_results",
    metadata,
    Column("evaluation", Integer, primary_key=True),
    Column("sample_id", Text, primary_key=True),
    Column("tp", Integer, nullable=False),
    Column("fp", Integer, nullable=False),
    Column("fn", Integer, nullable=False),
)

looks = Table(
    "looks",
    metadata,
    Column("seq", Integer, primary_key=True),
    Column("what", Text, nullable=False),
    Column("iteration", Integer),
    Column("who", Text, nullable=False),
    Column("at", Text, nullable=False),
    Column("record", JSON, nullable=False),
)

audit = Table(
    "audit",
    metadata,
    Column("seq", Integer, primary_key=True),
    Column("at", Text, nullable=False),
    Column("who", Text, nullable=False),
    Column("what", Text, nullable=False),
    Column("target", Text, nullable=False),
    Column("details", JSON, nullable=False),
)
