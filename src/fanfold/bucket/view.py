"""What is in a bucket by now, shown as files: manifests, unfinished runs, and what those have written."""

from collections import Counter
from collections.abc import Iterable
from datetime import datetime
from functools import partial

from fanfold import documents
from fanfold.bucket.claims import Claims
from fanfold.bucket.connections import at_once
from fanfold.bucket.copies import Copies
from fanfold.bucket.entry import Claimed, State
from fanfold.bucket.entry import Run as ClaimedRun
from fanfold.bucket.objects import Object
from fanfold.errors import DataError
from fanfold.layout import Feed, Run, is_ts
from fanfold.manifest import Manifest
from fanfold.spec.model import PLACE, Spec
from fanfold.working_files import Files, Release, StagedFile

FAILURE, PROGRESS, MERGED, PUBLISHED = "failure.json", "progress.json", "merged.json", "published.json"
RECORDS = ("merged.records", "records.jsonl")


class View:
    """What one process has seen of a feed in a bucket.

    Attributes:
        copies: the files.
        state: the log of claims when it was read last.
        attempts: whose working files are shown, by run.
        held: the runs of which these are known to hold.
        alone: whether this process does all steps of a run.
    """

    def __init__(self, feed: Feed, copies: Copies, claims: Claims) -> None:
        """Begin with nothing; `refresh` shows what is there."""
        self.copies, self._claims, self._feed = copies, claims, feed
        self.state = State()
        self.attempts: dict[str, str] = {}
        self.held: set[str] = set()
        self.alone = False
        self._seen: set[str] = set()
        # The runs that others have gone on with since they were shown.
        self._lost: set[str] = set()

    def refresh(self, ts: str | None = None, n: int | None = None) -> None:
        """Show what is in the bucket by now: of complete runs their manifests, of the others all that they have.

        With a `ts`, show what concerns that run; with an `n`, what concerns that group of it.
        """
        self.state = self._claims.state()
        self._lost.clear()
        # Before the manifests: who ends a run writes its manifest, and removes its working files then.
        working = [*self.copies.objects.list(f"staging/{ts}" if ts else "staging")]
        names = [merge.reference for merge in self._feed.spec.merge]
        if ts:
            run = self._feed.run(ts)
            names += map(self.copies.name, (self._feed.identity_path, run.commit_path, run.purged_path))
        else:
            # Some may have been purged.
            self.copies.drop_all(f"{self.copies.name(self._feed.references_dir)}/")
            for found in self.copies.objects.list(".fanfold/"):
                if not found.name.startswith(".fanfold/claims/"):
                    self.copies.stand_in(found.name, found)
        self.look_at(names)
        for folder in (self._feed.landing_dir, self._feed.staging_dir):
            folder.mkdir(parents=True, exist_ok=True)
        for one in self.state.runs.values():
            # What this process prepares is not what holds.
            if ts in {None, one.ts} and (one.ts in self.held or one.ts not in self.attempts):
                self.show(one.ts, one, working, n)
        # What else lies in staging is nobody's, as in a folder.
        if left := [found for found in working if is_ts(_ts(found)) and _ts(found) not in self.state.runs]:
            self._remove_left(left)

    def _remove_left(self, left: Iterable[Object]) -> None:
        """Remove working files of runs that have ended: a process that knew nothing of it has written them.

        Raises:
            DataError: a run was begun in a folder, which was copied into the bucket.
        """
        if begun := [_ts(found) for found in left if not found.name.startswith(f"staging/{_ts(found)}/.fanfold/")]:
            msg = (
                f"staging/{begun[0]} has files that no run in this bucket has claimed, expected none: remove them; or, "
                f"if a folder was copied here, complete run {begun[0]} there, or give it up there (fanfold release), "
                "and copy the feed again"
            )
            raise DataError(msg)
        # One that has claimed its files since they were listed has not made them.
        now = self._claims.state().runs
        for found in left:
            if _ts(found) not in now:
                self.copies.objects.delete(found.name)

    def look_at(self, names: Iterable[str]) -> None:
        """Show some files, where they are there."""
        for found in at_once(self.copies.objects.head, names):
            if found:
                self.copies.stand_in(found.name, found)

    def _list(self, prefix: str) -> None:
        for found in self.copies.objects.list(prefix):
            self.copies.stand_in(found.name, found)

    def show(self, ts: str, claimed: ClaimedRun, working: Iterable[Object], n: int | None = None) -> None:
        """Show an unfinished run, with those of its working files that hold; with an `n`, what concerns that group."""
        spec = Spec.model_validate(claimed.spec)
        run = Feed(self.copies.root, spec).run(ts)
        if self.copies.known(self.copies.name(run.commit_path)):
            # A call that was cut short has left nothing to do but to end it.
            run.staging_dir.mkdir(parents=True, exist_ok=True)
            return
        for group in run.groups:
            group.subdir_dir.mkdir(parents=True, exist_ok=True)
        run.work_dir.mkdir(exist_ok=True)
        run.spec_path.write_bytes(spec.model_dump_json(exclude=PLACE, indent=1).encode())
        marker = spec.input.done_suffix or "\0"
        staged = [
            StagedFile(file.name, file.size_bytes, file.subdir)
            for file in claimed.files
            if not file.name.endswith(marker)
        ]
        run.files_path.write_bytes(documents.encode(Files(format=documents.FORMAT, claimed=True, files=staged)))
        for group in map(run.group, claimed.sealed):
            group.work_dir.mkdir(exist_ok=True)
            group.publishing_path.touch()
        if claimed.released is not None:
            run.release_path.write_bytes(documents.encode(Release(claimed.released)))
        self._make_room((file.subdir, file.size_bytes) for file in claimed.files)
        shown = [file for file in claimed.files if n in {None, file.subdir}]
        for file in shown:
            self.copies.stand_in(_staged(run, file), in_landing(spec, file))
        if claimed.attempt:
            self.attempts[ts] = claimed.attempt
            self.held.add(ts)
        prefix = f"staging/{ts}/.fanfold/"
        for found in (one for one in working if one.name.startswith(prefix)):
            attempt, _, rest = found.name.removeprefix(prefix).partition("/")
            if found.name.endswith(FAILURE):
                self.copies.stand_in(found.name, found)
            elif attempt == claimed.attempt:
                # What is published comes behind what is merged, and takes its place.
                plain = rest.removesuffix(MERGED).removesuffix(PUBLISHED)
                self.copies.stand_in(prefix + plain + ("" if plain == rest else PROGRESS), found)
                if rest.endswith(MERGED):
                    # An empty file of records is not put into the bucket.
                    (self.copies.root / prefix / plain / RECORDS[0]).touch()
        if published := [file for file in shown if file.subdir in claimed.sealed]:
            self._list(f"{run.output_name}/")
            self._list(self.copies.name(run.feed.quarantine_dir / ts) + "/")
            for _ in at_once(partial(self._find, run), published):
                pass

    def _make_room(self, files: Iterable[tuple[int, int]]) -> None:
        """Let what was read stay, as long as it is not more than the largest group of a run has."""
        sizes = Counter[int]()
        for n, size_bytes in files:
            sizes[n] += size_bytes
        if not self.alone:
            self.copies.room_bytes = max(sizes.values(), default=0)

    def _find(self, run: Run, file: Claimed) -> None:
        """Show an original at its last place, if it is there: in the archive; in quarantine it was listed."""
        places = last_places(run, file)
        if not any(map(self.copies.known, places)):
            found = self.copies.objects.head(places[0]) if places else None
            if found is None:
                return
            self.copies.stand_in(found.name, found)
        claimed = in_landing(run.feed.spec, file)
        if self.copies.objects.head(claimed.name) != claimed:
            self.copies.drop(_staged(run, file))

    def holds(self, run: Run) -> bool:
        """Say whether nobody else has ended a run, prepared it anew, or archived its files, since it was shown."""
        known, commit = self.state.runs.get(run.ts), self.copies.name(run.commit_path)
        if run.ts in self._lost or known is None or self.copies.known(commit):
            return run.ts not in self._lost
        now = self._claims.state().runs.get(run.ts)
        # Who completes a run writes its manifest before the log says so.
        self.look_at([commit])
        if (
            now is None
            or self.copies.known(commit)
            or (now.number, now.released) != (known.number, known.released)
            or now.attempt not in {known.attempt, self.attempts.get(run.ts)}
            or self._are_archived(run, [file for file in now.files if file.subdir in now.sealed])
        ):
            self._lost.add(run.ts)
        return run.ts not in self._lost

    def _are_archived(self, run: Run, files: Iterable[Claimed]) -> bool:
        """Say whether one of some files that lie here in their subdirectories is at its last place by now."""
        shown = [file for file in files if self.copies.known(_staged(run, file))]
        if shown:
            self._list(self.copies.name(run.feed.quarantine_dir / run.ts) + "/")
        for _ in at_once(partial(self._find, run), shown):
            pass
        return not all(self.copies.known(_staged(run, file)) for file in shown)

    def see(self, run: Run, committed: Manifest) -> None:
        """Show the tables and the originals of a complete run."""
        if run.ts in self._seen:
            return
        self._seen.add(run.ts)
        self._make_room((file.subdir, file.size_bytes) for file in committed.files)
        self._list(f"{run.output_name}/")
        self._list(self.copies.name(run.feed.quarantine_dir / run.ts) + "/")
        names = [file.archived_as for file in committed.files if not file.code]
        markers = (run.archived_marker_path(file.name) for file in committed.files)
        names += [self.copies.name(path) for path in markers if path]
        self.look_at(name for name in names if not self.copies.known(name))


def in_landing(spec: Spec, file: Claimed) -> Object:
    """Return the object in landing that a run has claimed."""
    return Object(f"{spec.input.path}/{file.name}", file.size_bytes, file.e_tag, datetime.fromisoformat(file.modified))


def last_places(run: Run, file: Claimed) -> list[str]:
    """Return where an original, or a marker, may end."""
    marker = run.feed.spec.input.done_suffix
    if marker and file.name.endswith(marker):
        place = run.archived_marker_path(file.name.removesuffix(marker))
        return [str(place.relative_to(run.feed.data_dir))] if place else []
    return [run.archived_name(file.name), run.group(file.subdir).quarantined_name(file.name)]


def _ts(found: Object) -> str:
    return found.name.split("/")[1]


def _staged(run: Run, file: Claimed) -> str:
    return f"staging/{run.ts}/{file.subdir}/{file.name}"
