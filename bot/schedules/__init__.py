"""Schedules in chats: their words, their cards, and what starts when one is due."""
