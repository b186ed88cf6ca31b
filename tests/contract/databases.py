"""Databases on the tests' MongoDB-protocol server: each test has one of its own and drops it."""

from __future__ import annotations

from pymongo import AsyncMongoClient


async def drop_database(uri: str, name: str) -> None:
    """Delete one database of the tests' own."""
    async with AsyncMongoClient(uri) as client:
        await client.drop_database(name)
