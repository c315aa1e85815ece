"""The lives of projects: what an operator does on the command line. One store call each."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import fields, replace
from typing import Any, Final
from urllib.parse import urlsplit

from otp import pages, words
from otp.audit import Action, who_acts
from otp.codes import key_hash
from otp.errors import InvalidField
from otp.events import ERASE_PROJECT
from otp.model import Channel, Ending, Mode, Project, SitePage
from otp.policy import HOUR_MS, MINUTE_MS
from otp.ports import Randomness, Store, Tx
from otp.values import value

NAME_LENGTH: Final = 200
DESCRIPTION_LENGTH: Final = 1000
URL_LENGTH: Final = 512
KEY_CHARACTERS: Final = 40
"""238 random bits."""
ERASED_AT_ONCE: Final = 500
"""Rows of a kind that go in one transaction."""
CONFIGURED_PROJECT: Final = "00000000-0000-4000-8000-000000000001"
"""The fixed identity of the one project that settings may describe."""
BIDI_OVERRIDES: Final = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


class ProjectNotFound(Exception):
    """There is no project with that id."""


@value
class NewKey:
    """A project with its API key, which is told only now."""

    project: Project
    api_key: str

    def __repr__(self) -> str:
        return f"NewKey({self.project.id})"


def checked_text(field: str, value: str, longest: int, *, required: bool) -> str:
    """A text that people will see literally. Raises `InvalidField`."""
    if required and not value.strip():
        raise InvalidField(field, f"must not be empty (1 to {longest} characters)")
    if len(value) > longest:
        raise InvalidField(field, f"must have at most {longest} characters, has {len(value)}")
    if any(unicodedata.category(ch) in ("Cc", "Cs", "Zl", "Zp") or ch in BIDI_OVERRIDES for ch in value):
        raise InvalidField(
            field, "must not hold control characters, line breaks or bidirectional override characters"
        )
    return value


@value
class PageChange:
    """What is to be otherwise about the hosted page; what is empty takes the old away."""

    return_urls: Sequence[str] | None = None
    origins: Sequence[str] | None = None
    color: str | None = None
    logo: bytes | None = None
    first: Channel | None = None

    def of(self, page: SitePage) -> SitePage:
        """The page as it will be. Raises `InvalidField`."""
        return SitePage(
            page.return_urls if self.return_urls is None else pages.checked_return_urls(self.return_urls),
            page.origins if self.origins is None else pages.checked_origins(self.origins),
            page.color if self.color is None else pages.checked_color(self.color),
            page.logo if self.logo is None else pages.checked_logo(self.logo) if self.logo else None,
            self.first or page.first,
        )


@value
class Change:
    """What an operator wants to be otherwise; an empty address or empty texts take the old ones away."""

    name: str | None = None
    description: str | None = None
    site_url: str | None = None
    texts: Any = None
    page: PageChange = PageChange()
    keep_phone: bool | None = None


def checked_url(site_url: str | None) -> str | None:
    """An address for a button, or none. Raises `InvalidField`."""
    if not site_url:
        return None
    sound = (
        site_url.isascii() and site_url.isprintable() and " " not in site_url and len(site_url) <= URL_LENGTH
    )
    if not sound or not site_url.startswith("https://") or not urlsplit(site_url).hostname:
        raise InvalidField("site_url", f"must be an https:// address of at most {URL_LENGTH} characters")
    return site_url


class Projects:
    """Create, change and end projects."""

    def __init__(self, store: Store, randomness: Randomness, mode: Mode) -> None:
        """`mode` is the mode of the keys made here."""
        self._store = store
        self._randomness = randomness
        self._mode = mode

    async def create(self, name: str, description: str, site_url: str | None = None) -> NewKey:
        """A new project with a new key. Raises `InvalidField`."""
        project = replace(
            self._checked(self._randomness.uuid(), name, description), site_url=checked_url(site_url)
        )
        api_key, by = self._new_key(self._mode), who_acts()

        async def work(tx: Tx) -> None:
            await tx.record_audit(by, Action.PROJECT_CREATE, project.id, name)
            await tx.save_project(project)
            await tx.add_key(project.id, self._mode, key_hash(api_key))

        await self._store.write(work)
        return NewKey(project, api_key)

    async def configure(self, name: str, description: str, api_key: str) -> Project:
        """The project that the settings describe, under its fixed identity. Raises `InvalidField`."""
        wanted = self._checked(CONFIGURED_PROJECT, name, description)
        hashed, by = key_hash(api_key), who_acts()
        await self._erase(CONFIGURED_PROJECT)  # of an earlier life, when that was cut short

        async def work(tx: Tx) -> Project:
            known = await tx.project(CONFIGURED_PROJECT)
            holder = await tx.caller(hashed)
            if holder is not None and holder.project.id != CONFIGURED_PROJECT:
                raise InvalidField("api_key", "is the key of another project already")
            project = replace(known, name=wanted.name, description=wanted.description) if known else wanted
            if known is None:
                await tx.record_audit(by, Action.PROJECT_CREATE, project.id, name)
            elif project != known:
                await tx.record_audit(by, Action.PROJECT_UPDATE, project.id, _changed(known, project))
            if known is not None and (holder is None or await self._other_keys(tx)):
                detail = f"the {self._mode} key of the settings; others end at once"
                await tx.record_audit(by, Action.PROJECT_ROTATE_KEY, project.id, detail)
            await tx.save_project(project)
            await tx.add_key(project.id, self._mode, hashed)
            await tx.end_keys(project.id, self._mode, tx.now, but=hashed)
            return project

        return await self._store.write(work)

    async def _other_keys(self, tx: Tx) -> bool:
        """Whether keys beside that of the settings are about to end, or that one was."""
        facts = await tx.project_facts(CONFIGURED_PROJECT)
        theirs = [one.ends_at for one in facts.keys if one.mode is self._mode] if facts is not None else []
        return theirs != [None]

    async def all(self) -> list[Project]:
        """All projects, oldest first."""
        return await self._store.read(lambda tx: tx.projects())

    async def update(self, project_id: str, change: Change) -> Project:
        """Other words for a project; what is None stays. Raises `ProjectNotFound`, `InvalidField`."""
        by = who_acts()

        async def work(tx: Tx) -> Project:
            known = await _known(tx, project_id)
            name = known.name if change.name is None else change.name
            description = known.description if change.description is None else change.description
            checked = self._checked(project_id, name, description)
            changed = replace(
                known,
                name=checked.name,
                description=checked.description,
                site_url=known.site_url if change.site_url is None else checked_url(change.site_url),
                texts=known.texts if change.texts is None else words.checked(change.texts),
                page=change.page.of(known.page),
                keep_phone=known.keep_phone if change.keep_phone is None else change.keep_phone,
            )
            await tx.record_audit(by, Action.PROJECT_UPDATE, project_id, _changed(known, changed))
            await tx.save_project(changed)
            if change.keep_phone is False:
                await tx.drop_kept_numbers(project_id)
            if changed.page.logo is None:
                await tx.delete_logo(project_id)
            elif change.page.logo:
                await tx.save_logo(project_id, changed.page.logo, change.page.logo)
            return changed

        # Numbers that were kept may be many.
        return await (self._store.chore if change.keep_phone is False else self._store.write)(work)

    async def rotate_key(self, project_id: str, keep_old_hours: int, mode: Mode | None = None) -> NewKey:
        """A new key of a mode; its old ones end after so many hours, or at once with 0. Raises `ProjectNotFound`."""
        mode = mode or self._mode
        api_key = self._new_key(mode)
        hashed, by = key_hash(api_key), who_acts()
        detail = _rotation(mode, keep_old_hours)

        async def work(tx: Tx) -> Project:
            known = await _known(tx, project_id)
            await tx.record_audit(by, Action.PROJECT_ROTATE_KEY, project_id, detail)
            await tx.add_key(project_id, mode, hashed)
            await tx.end_keys(project_id, mode, tx.now + keep_old_hours * HOUR_MS, but=hashed)
            return known

        return NewKey(await self._store.write(work), api_key)

    async def set_enabled(self, project_id: str, enabled: bool) -> Project:
        """Switch a project on or off; its live codes die when it goes off. Raises `ProjectNotFound`."""
        by, action = who_acts(), Action.PROJECT_ENABLE if enabled else Action.PROJECT_DISABLE

        async def work(tx: Tx) -> Project:
            changed = replace(await _known(tx, project_id), enabled=enabled)
            await tx.record_audit(by, action, project_id, changed.name)
            await tx.save_project(changed)
            if not enabled:
                await tx.kill_project_codes(project_id, Ending.WITHDRAWN)
            return changed

        return await self._store.chore(work)

    async def delete(self, project_id: str) -> None:
        """A project is gone at once, its data by the time this returns. Raises `ProjectNotFound`.

        In batches, so that nobody waits behind it. Should we die on the way, a job goes on.
        """
        by = who_acts()

        async def work(tx: Tx) -> None:
            known = await _known(tx, project_id)
            await tx.record_audit(by, Action.PROJECT_DELETE, project_id, known.name)
            await tx.ensure_job(ERASE_PROJECT, project_id, tx.now + MINUTE_MS)
            if not await tx.delete_project(project_id):
                raise ProjectNotFound  # somebody else was faster: nothing of this is kept

        await self._store.write(work)
        await self._erase(project_id)

    async def _erase(self, project_id: str) -> None:
        while await self._store.chore(lambda tx: tx.erase_project(project_id, ERASED_AT_ONCE)):
            pass

    def _checked(self, project_id: str, name: str, description: str) -> Project:
        return Project(
            id=project_id,
            name=checked_text("name", name, NAME_LENGTH, required=True),
            description=checked_text("description", description, DESCRIPTION_LENGTH, required=False),
            enabled=True,
        )

    def _new_key(self, mode: Mode) -> str:
        return f"tc_{mode}_{self._randomness.text(KEY_CHARACTERS)}"


async def _known(tx: Tx, project_id: str) -> Project:
    project = await tx.project(project_id)
    if project is None:
        raise ProjectNotFound
    return project


def _changed(before: Project, after: Project) -> str:
    """What is otherwise, by the names of the fields: what was said in them is looked up in the project."""
    of_page = [name for name in _PAGE if getattr(before.page, name) != getattr(after.page, name)]
    names = [name for name in _WORDS if getattr(before, name) != getattr(after, name)] + of_page
    return ", ".join(names) or "nothing that was not so before"


def _rotation(mode: Mode, keep_old_hours: int) -> str:
    ends = f"in {keep_old_hours} hours" if keep_old_hours else "at once"
    return f"a new {mode} key; older ones end {ends}"


_WORDS: Final = ("name", "description", "site_url", "texts")
_PAGE: Final = tuple(one.name for one in fields(SitePage))
