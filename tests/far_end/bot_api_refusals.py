"""What the Bot API refuses, in its own words and codes; each function cites the rule that it stands for.

Rules are those of core.telegram.org/bots/api; the words are those that the API's servers answer with.
"""

from __future__ import annotations


class Refusal(Exception):
    """A request that is not carried out: HTTP status, description and ``ResponseParameters``."""

    def __init__(self, code: int, description: str, **parameters: int) -> None:
        super().__init__(description)
        self.code, self.description, self.parameters = code, description, parameters

    def body(self) -> dict[str, object]:
        """The answer: "ok" is false, the error is explained in "description", its code is in "error_code"."""
        said: dict[str, object] = {"ok": False, "error_code": self.code, "description": self.description}
        return {**said, "parameters": self.parameters} if self.parameters else said


def bad(why: str) -> Refusal:
    """Making requests: an unsuccessful request has "ok" false, an error_code and a description."""
    return Refusal(400, f"Bad Request: {why}")


def unauthorized() -> Refusal:
    """Authorizing your bot: each bot is given a unique authentication token; another one is not served."""
    return Refusal(401, "Unauthorized")


def no_such_method() -> Refusal:
    """Making requests: https://api.telegram.org/bot<token>/METHOD_NAME; other paths do not exist."""
    return Refusal(404, "Not Found")


def other_poller() -> Refusal:
    """getUpdates: one long poll at a time; a newer one ends the older one with a conflict."""
    return Refusal(
        409, "Conflict: terminated by other getUpdates request; make sure that only one bot instance is running"
    )


def webhook_is_set() -> Refusal:
    """getUpdates: "This method will not work if an outgoing webhook is set up.\""""
    return Refusal(
        409,
        "Conflict: can't use getUpdates method while webhook is active; "
        "use deleteWebhook to delete the webhook first",
    )


def too_many_requests(seconds: int) -> Refusal:
    """ResponseParameters.retry_after: "the number of seconds left to wait before the request can be repeated".

    The Bots FAQ names the rates: 1 message a second in a chat, 20 a minute in a group, 30 a second overall.
    """
    return Refusal(429, f"Too Many Requests: retry after {seconds}", retry_after=seconds)


def message_too_long() -> Refusal:
    """sendMessage.text: "1-4096 characters after entities parsing"."""
    return bad("message is too long")


def message_empty() -> Refusal:
    """sendMessage.text: at least one character that is not white space."""
    return bad("message text is empty")


def caption_too_long() -> Refusal:
    """sendPhoto.caption: "0-1024 characters after entities parsing"."""
    return bad("message caption is too long")


def cannot_parse(why: str) -> Refusal:
    """Formatting options, HTML style: "Only the tags mentioned above are currently supported"."""
    return bad(f"can't parse entities: {why}")


def not_modified() -> Refusal:
    """editMessageText: an edit must change the text or the keyboard."""
    return bad(
        "message is not modified: specified new message content and reply markup are exactly the same as a current "
        "content and reply markup of the message"
    )


def edit_not_found() -> Refusal:
    """editMessageText.message_id: "Identifier of the message to edit"; there is no such message."""
    return bad("message to edit not found")


def cannot_edit() -> Refusal:
    """Updating messages: a bot edits only messages that it sent itself."""
    return bad("message can't be edited")


def no_text_to_edit() -> Refusal:
    """editMessageText is for text messages; a caption is changed by editMessageCaption."""
    return bad("there is no text in the message to edit")


def no_caption_to_edit() -> Refusal:
    """editMessageCaption is for messages with media."""
    return bad("there is no caption in the message to edit")


def delete_not_found() -> Refusal:
    """deleteMessage.message_id: "Identifier of the message to delete"; there is no such message."""
    return bad("message to delete not found")


def reply_not_found() -> Refusal:
    """ReplyParameters.message_id: must exist, unless allow_sending_without_reply is true."""
    return bad("message to be replied not found")


def chat_not_found() -> Refusal:
    """sendMessage.chat_id: a chat that the bot has never met."""
    return bad("chat not found")


def blocked() -> Refusal:
    """Bots FAQ: a bot cannot write to a person who blocked it."""
    return Refusal(403, "Forbidden: bot was blocked by the user")


def kicked() -> Refusal:
    """A bot cannot write to a group that it was thrown out of."""
    return Refusal(403, "Forbidden: bot was kicked from the supergroup chat")


def upgraded(new: int) -> Refusal:
    """ResponseParameters.migrate_to_chat_id: "The group has been migrated to a supergroup"."""
    return Refusal(400, "Bad Request: group chat was upgraded to a supergroup chat", migrate_to_chat_id=new)


def button_data_invalid() -> Refusal:
    """InlineKeyboardButton.callback_data: "1-64 bytes"."""
    return bad("BUTTON_DATA_INVALID")


def query_too_old() -> Refusal:
    """answerCallbackQuery.callback_query_id: once, and soon."""
    return bad("query is too old and response timeout expired or query ID is invalid")


def thread_not_found() -> Refusal:
    """sendMessage.message_thread_id: "Unique identifier for the target message thread (topic) of the forum".

    General has none: its identifier 1 is refused, it is meant by leaving the field out.
    """
    return bad("message thread not found")


def not_a_forum() -> Refusal:
    """createForumTopic: "Use this method to create a topic in a forum supergroup chat"."""
    return bad("the chat is not a forum")


def no_topic_rights() -> Refusal:
    """createForumTopic: the bot "must have the can_manage_topics administrator right"."""
    return bad("not enough rights to create a topic")


def topic_name_invalid() -> Refusal:
    """createForumTopic.name: "Topic name, 1-128 characters"."""
    return bad("TOPIC_NAME_INVALID")


def download_too_big() -> Refusal:
    """getFile: "bots can download files of up to 20MB in size"."""
    return bad("file is too big")


def upload_too_big() -> Refusal:
    """sendDocument: "Bots can currently send files of any type of up to 50 MB in size"."""
    return Refusal(413, "Request Entity Too Large")


def no_such_file() -> Refusal:
    """getFile.file_id: "File identifier to get information about"."""
    return bad("wrong file_id or the file is temporarily unavailable")


def command_invalid() -> Refusal:
    """BotCommand.command: "1-32 characters. Can contain only lowercase English letters, digits and underscores"."""
    return bad("BOT_COMMAND_INVALID")


def command_description_invalid() -> Refusal:
    """BotCommand.description: "1-256 characters"."""
    return bad("BOT_COMMAND_DESCRIPTION_INVALID")


def too_many_commands() -> Refusal:
    """setMyCommands: "At most 100 commands can be specified"."""
    return bad("BOT_COMMANDS_TOO_MUCH")


def secret_invalid() -> Refusal:
    """setWebhook.secret_token: "1-256 characters. Only characters A-Z, a-z, 0-9, _ and - are allowed"."""
    return bad("secret token contains unallowed characters")


def webhook_needs_https() -> Refusal:
    """setWebhook.url: "HTTPS URL to send updates to" (plain HTTP only to loopback, as a local API server may)."""
    return bad("bad webhook: An HTTPS URL must be provided for webhook")


def topic_closed() -> Refusal:
    """closeForumTopic and closeGeneralForumTopic: in a closed topic only administrators may write."""
    return bad("TOPIC_CLOSED")


def no_right_to_send(what: str) -> Refusal:
    """ChatPermissions.can_send_documents, can_send_photos, can_send_messages: an administrator may forbid each."""
    return bad(f"not enough rights to send {what} to the chat")
