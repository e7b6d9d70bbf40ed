"""The cache inside a transaction: stored results, and the claims on keys whose result is being made. The rules decide with what is loaded here.

A claim is written with the start of a task that will make a result, and goes with its end, whatever that is. One whose holder is gone (its
flow run is over, its lease has run out, its process on this machine has died) counts as none, so nothing ever waits for the dead.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

import msgspec

from legato.core.caching import CacheEntry, CacheHolder, why_missed
from legato.core.clock import clamped, from_us, to_us
from legato.core.ownership import is_held
from legato.core.records import CacheAsk, Result, RunKind, Transition
from legato.core.states import FINAL, RUNNING, StateType
from legato.store import columns
from legato.store.database import Row, Session
from legato.store.rows import instant, text_of
from legato.system import host_name, process_is_alive

FOREVER_S = 1e11
"""Three thousand years: what is kept for longer is kept for ever."""
_HIGHEST_TREE = 50
"""Flow runs inside flow runs are followed this far up."""

_result = msgspec.json.Decoder(Result).decode
_ask = msgspec.json.Decoder(CacheAsk).decode
_parts = msgspec.json.Decoder(dict[str, str]).decode


class _Claim(msgspec.Struct):
    key: str
    task_run_id: str
    flow_run_id: str
    claimed_at: int
    ask: CacheAsk
    waits_for: str | None = None
    task_name: str = ""
    flow_run_name: str = ""


class _Ended(NamedTuple):
    run_id: str
    key: str
    expires_at: int | None
    result: str | None
    at: int
    ask: CacheAsk | None


class Reuse:
    """What one batch of transitions needs of the cache. Use: `load`, then `facts` and `decided` for each start, `ended` for each end, `write`."""

    def __init__(self, session: Session, statements: Mapping[str, str], now: datetime) -> None:
        self._session = session
        self._sql = statements
        self._now = now
        self._entries: dict[str, CacheEntry] = {}
        self._claims: dict[str, _Claim] = {}
        self._taken: dict[str, _Claim] = {}
        self._waits: list[tuple[str | None, Sequence[str]]] = []
        self._ended: list[_Ended] = []

    # ------------------------------------------------------------------ before the decision

    def load(self, asks: Iterable[CacheAsk]) -> None:
        """Read what is stored under the keys that are asked for, and who is making it."""
        keys = sorted({ask.key for ask in asks})
        if not keys:
            return
        self._session.lock_keys(keys)
        self._load_claims(keys)  # before the results: a holder that ends between the two has stored what it made
        for row in self._session.rows(self._sql["cached"], keys=keys):
            self._entries[row[0]] = _entry_of(row)

    def _load_claims(self, keys: Sequence[str]) -> None:
        for row in self._session.rows(self._sql["cache_claims"], keys=keys):
            claim = _Claim(row[0], row[1], row[2], row[3], _ask(row[4]), row[5], row[6] or "", row[7] or "")
            if not self._is_dead(claim.flow_run_id):
                self._claims[claim.key] = claim

    def facts(self, ask: CacheAsk, run_id: str) -> tuple[CacheEntry | None, CacheHolder | None]:
        """The stored result that this start may take, and who is making one that it should wait for."""
        if ask.refresh:
            return None, None
        entry = self._entries.get(ask.key)
        if entry is not None and entry.answers(ask, self._now):
            return entry, None
        claim = self._claims.get(ask.key)
        if claim is None or claim.task_run_id == run_id or not ask.patient or self._waits_for(claim, ask.within):
            return None, None
        return None, CacheHolder(claim.task_run_id, from_us(claim.claimed_at), claim.task_name, claim.flow_run_name)

    def _waits_for(self, claim: _Claim | None, within: Sequence[str]) -> bool:
        """Whether a holder, by way of whatever it waits for itself, waits for one of these runs: then waiting for it would never end."""
        seen = set()
        while claim is not None and claim.key not in seen:
            if claim.task_run_id in within:
                return True
            seen.add(claim.key)
            after = claim.waits_for
            if after is not None and after not in self._claims:
                self._load_claims([after])
            claim = self._claims.get(after) if after is not None else None
        return False

    def _is_dead(self, flow_run_id: str) -> bool:
        """Whether the flow run that holds a claim is over, or nobody holds it (or the run it is inside of) any more."""
        id_: str | None = flow_run_id
        for _ in range(_HIGHEST_TREE):
            row = self._session.row(self._sql["holder_facts"], id=id_)
            if row is None:
                return True
            state, lease, parent, deployment, agent, host, pid, state_at, epoch = row
            if not is_held(epoch) or StateType(state) in FINAL or (lease is not None and lease < to_us(self._now)):
                return True
            if agent is None and pid > 0 and host == _HOST and not process_is_alive(pid, from_us(state_at)):
                return True
            if parent is None or deployment is not None:
                return False
            id_ = parent
        return False

    # ------------------------------------------------------------------ after it

    def started(self, ask: CacheAsk, run_id: str, flow_run_id: str, name: str, at: int) -> str:
        """This run makes the result now. Returns why nothing stored was taken."""
        held = self._claims.get(ask.key)
        if held is None or held.task_run_id == run_id or ask.refresh:
            self._claims[ask.key] = self._taken[ask.key] = _Claim(ask.key, run_id, flow_run_id, at, ask, task_name=name)
        if ask.within:
            self._waits.append((None, ask.within))
        if not ask.task_key:
            return ""
        latest = [_entry_of(row) for row in self._session.rows(self._sql["latest_cached"], task_key=ask.task_key)]
        return why_missed(ask, self._now, same_key=self._entries.get(ask.key), latest=latest)

    def waits(self, ask: CacheAsk) -> None:
        """This run waits for the result: so do all that it is inside of."""
        if ask.within:
            self._waits.append((ask.key, ask.within))

    def ended(self, run_id: str, name: str, key: str, *, expires_s: float | None, result: str | None, at: int) -> None:
        """A run with a key has ended: its claim goes. A `result` (the record's JSON text) is stored under the key."""
        stored = None if result is None or _result(result).unavailable else result
        expires_at = None if expires_s is None else clamped(at + round(max(min(expires_s, FOREVER_S), -FOREVER_S) * 1e6))
        own = self._claims.get(key)
        ask = None
        if own is not None and own.task_run_id == run_id:
            ask = own.ask
            del self._claims[key]
            self._taken.pop(key, None)
        self._ended.append(_Ended(run_id, key, expires_at, stored, at, ask))
        if stored is not None:
            self._entries[key] = CacheEntry(key, _result(stored), from_us(at), instant(expires_at), ask.policy if ask else "", None, name)

    def write(self) -> None:
        """Write what became of results and claims. Ends come before starts: a key may be freed and claimed again in one batch."""
        if self._ended:
            ids = sorted({ended.run_id for ended in self._ended})
            asks = {row[1]: _ask(row[2]) for row in self._session.rows(self._sql["cache_claims_of"], ids=ids)}
            for ended in sorted(self._ended):
                if ended.result is not None:
                    self._store(ended, ended.ask or asks.get(ended.run_id) or CacheAsk(key=ended.key))
            self._session.run(self._sql["free_cache_claims"], ids=ids)
        for _, claim in sorted(self._taken.items()):
            self._session.run(
                self._sql["put_cache_claim"],
                key=claim.key,
                task_run_id=claim.task_run_id,
                flow_run_id=claim.flow_run_id,
                now=claim.claimed_at,
                ask=text_of(claim.ask),
            )
        for waited_for, within in self._waits:
            self._session.run(self._sql["note_cache_wait"], key=waited_for, ids=sorted(within))

    def _store(self, ended: _Ended, ask: CacheAsk) -> None:
        self._session.run(
            self._sql["put_cached"],
            key=ended.key,
            result=ended.result,
            task_run_id=ended.run_id,
            now=ended.at,
            expires_at=ended.expires_at,
            task_key=ask.task_key,
            policy=ask.policy,
            parts=text_of(ask.parts) if ask.parts else None,
        )


def ask_of(t: Transition, key: str | None, expires_s: float | None) -> CacheAsk | None:
    """What a transition asks of the cache: a task's start does, by itself or by the key that its run was created with."""
    if t.kind is not RunKind.TASK or t.state.type is not RUNNING:
        return None
    ask = t.cache or (CacheAsk(key=key, expires_s=expires_s) if key is not None else None)
    if ask is not None and not (_is_plain(ask.key) and _is_plain(ask.task_key)):
        ask = msgspec.structs.replace(ask, key=columns.token(ask.key), task_key=columns.token(ask.task_key))  # as they are stored
    return ask


def _is_plain(text: str) -> bool:
    return text.isascii() and len(text) < columns.LONGEST_INDEXED and "\0" not in text


def _entry_of(row: Row) -> CacheEntry:
    key, result, made_at, expires_at, policy, parts, task_name, flow_run_name = row
    return CacheEntry(
        key,
        _result(result),
        from_us(made_at),
        instant(expires_at),
        policy,
        _parts(parts) if parts else None,
        task_name or "",
        flow_run_name or "",
    )


_HOST = host_name()
