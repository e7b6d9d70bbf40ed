"""Kinds of arguments that several verbs take, with what is allowed and what it means: checked where they come off the wire."""

from __future__ import annotations

from typing import Annotated, TypeAlias

import msgspec

from legato.core.records import ArtifactFilter, FlowRunFilter

Limit: TypeAlias = Annotated[int, msgspec.Meta(ge=1, le=10_000, description="At most so many.")]
Position: TypeAlias = Annotated[int, msgspec.Meta(ge=0, le=2**53, description="Only what comes after this number.")]
Version: TypeAlias = Annotated[int, msgspec.Meta(ge=0, le=2**53, description="Which version; 0 for the last.")]
Lease: TypeAlias = Annotated[float, msgspec.Meta(gt=0, le=86_400, description="Seconds for which it is theirs.")]
Wait: TypeAlias = Annotated[float, msgspec.Meta(ge=0, le=120, description="Seconds to wait for the first run.")]

EVERY_RUN = FlowRunFilter()
EVERY_ARTIFACT = ArtifactFilter()
