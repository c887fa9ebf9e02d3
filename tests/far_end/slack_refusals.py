"""What Slack refuses, in its own codes: the errors that its reference of each method lists
(docs.slack.dev/reference/methods/chat.postMessage, chat.update, files.getUploadURLExternal,
files.completeUploadExternal), sorted by what can be done about them."""

from __future__ import annotations

#: chat.postMessage, about what is said: another form of it may be taken. The last one is not in the reference.
FORMS = (
    "invalid_blocks", "invalid_blocks_format", "msg_blocks_too_long", "msg_too_long", "no_text",
    "too_many_attachments", "attachment_payload_limit_exceeded", "too_many_contact_cards",
    "invalid_arguments", "invalid_arg_name", "invalid_array_arg", "invalid_charset", "invalid_form_data",
    "invalid_post_type", "missing_post_type", "invalid_metadata_format", "invalid_metadata_schema",
    "metadata_too_large", "markdown_text_conflict", "as_user_not_supported", "duplicate_message_not_found",
    "slack_connect_canvas_sharing_blocked", "slack_connect_file_link_sharing_blocked",
    "slack_connect_lists_sharing_blocked", "a_code_of_tomorrow",
)  # fmt: skip

#: chat.postMessage, about the thread: locked by admins, a channel without threads, a message without replies.
THREAD_CLOSED = (
    "restricted_action_thread_locked", "restricted_action_non_threadable_channel", "cannot_reply_to_message",
    "thread_not_found", "invalid_thread_ts",
)  # fmt: skip

#: chat.postMessage, about the channel: nothing that we say is taken there.
CHANNEL_CLOSED = (
    "channel_not_found", "not_in_channel", "is_archived", "is_inactive", "restricted_action",
    "restricted_action_read_only_channel", "restricted_action_thread_only_channel", "messages_tab_disabled",
    "ekm_access_denied", "access_denied", "no_permission", "team_access_not_granted",
    "channel_type_not_supported", "external_channel_migrating",
)  # fmt: skip

#: Any method, of a moment: the same message is taken later.
TRANSIENT = ("rate_limited", "ratelimited", "message_limit_exceeded")

#: chat.update, about this message: it can be changed no more.
GONE_EDITS = (
    "message_not_found", "cant_update_message", "edit_window_closed", "streaming_state_conflict",
    "cant_broadcast_message", "block_mismatch", "update_failed", "is_inactive",
)  # fmt: skip

#: chat.update, about what is said.
EDITS = ("msg_too_long", "invalid_blocks", "msg_blocks_too_long", "no_text", "a_code_of_tomorrow")

#: files.getUploadURLExternal and files.completeUploadExternal.
FILES = (
    "file_uploads_disabled", "file_uploads_except_images_disabled", "storage_limit_reached", "blocked_file_type",
    "malware_detected", "file_too_large", "file_update_failed", "posting_to_general_channel_denied",
    "slack_connect_file_upload_sharing_blocked", "slack_connect_clip_sharing_blocked",
    "slack_connect_blocked_file_type", "invalid_channel", "unknown_snippet_type", "snippet_too_large",
    "file_not_found", "missing_scope", "no_permission", "access_denied",
)  # fmt: skip
