//! Messages beside a console's bytes, subprotocol `consolegate.v1`: a JSON object in a text frame, both ways.

use serde::Deserialize;
use serde_json::{Value, json};

/// What the proxy tells. Types this version does not know are none of its business.
#[derive(Debug, Deserialize, PartialEq, Eq)]
#[serde(tag = "type", rename_all = "lowercase")]
pub(super) enum Told {
    /// First of all: what session this is and what it can do.
    Hello(Hello),
    /// Who holds the keyboard now.
    Role {
        role: Role,
        #[serde(default)]
        writer: Option<String>,
    },
    Joined {
        #[serde(default)]
        user: String,
    },
    Left {
        #[serde(default)]
        user: String,
    },
    /// Somebody asks for the keyboard.
    Asked {
        #[serde(default)]
        user: String,
    },
    /// So much of the console's output is missing here.
    Gap {
        #[serde(default)]
        bytes: u64,
    },
    Recording {
        recording: bool,
    },
    #[serde(other)]
    Other,
}

/// What session this is.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(default)]
pub(super) struct Hello {
    pub(super) role: Role,
    pub(super) viewers: u32,
    pub(super) recording: bool,
    pub(super) view_only: bool,
    #[serde(rename = "break")]
    pub(super) takes_break: bool,
    pub(super) resize: bool,
    /// Of the first byte that follows, in all that the console has said.
    pub(super) offset: Option<u64>,
    /// Which output of the console's that is, where one is kept.
    pub(super) line: Option<String>,
}

#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub(super) enum Role {
    #[default]
    Writer,
    Watcher,
}

impl Told {
    /// `None` for what is no such message.
    pub(super) fn parse(text: &str) -> Option<Self> {
        serde_json::from_str(text).ok()
    }

    /// A line for the user, where there is something to say.
    pub(super) fn prose(&self) -> Option<String> {
        Some(match self {
            Self::Hello(hello) => return hello.prose(),
            Self::Role { role: Role::Writer, .. } => "the keyboard is yours".to_owned(),
            Self::Role { role: Role::Watcher, writer: Some(writer) } => {
                format!("{} has the keyboard; you are watching", clean(writer))
            }
            Self::Role { role: Role::Watcher, writer: None } => "you are watching".to_owned(),
            Self::Joined { user } => format!("{} has joined", clean(user)),
            Self::Left { user } => format!("{} has left", clean(user)),
            Self::Asked { user } => format!("{} asks for the keyboard", clean(user)),
            Self::Gap { bytes } => format!("{bytes} bytes of output are missing here"),
            Self::Recording { recording: true } => "this session is recorded".to_owned(),
            Self::Recording { recording: false } => "this session is no longer recorded".to_owned(),
            Self::Other => return None,
        })
    }
}

impl Hello {
    fn prose(&self) -> Option<String> {
        let mut parts = Vec::new();
        if self.view_only {
            parts.push("you may only watch".to_owned());
        } else if self.role == Role::Watcher {
            parts.push("you are watching".to_owned());
        }
        match self.viewers {
            0 | 1 => {}
            2 => parts.push("one other is here".to_owned()),
            more => parts.push(format!("{} others are here", more - 1)),
        }
        if self.recording {
            parts.push("this session is recorded".to_owned());
        }
        (!parts.is_empty()).then(|| parts.join("; "))
    }
}

/// A name from the network, on its way to a terminal.
fn clean(name: &str) -> String {
    let name: String = name.chars().filter(|c| !c.is_control()).take(64).collect();
    if name.is_empty() { "somebody".to_owned() } else { name }
}

/// A message without parameters: `break`, `ask`, `take`, `give`.
pub(super) fn simple(kind: &str) -> Value {
    json!({"type": kind})
}

/// The terminal's size.
pub(super) fn resize((columns, rows): (u16, u16)) -> Value {
    json!({"type": "resize", "columns": columns, "rows": rows})
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn messages_are_read_and_told() {
        let told = |text: &str| Told::parse(text).and_then(|told| told.prose());
        let hello = r#"{"type":"hello","session":"x","protocol":"serial","role":"watcher","viewers":3,"view_only":false,
            "recording":true,"break":true,"resize":false,"offset":7}"#;
        let Some(Told::Hello(parsed)) = Told::parse(hello) else { panic!() };
        assert!(parsed.takes_break && !parsed.resize && parsed.offset == Some(7));
        assert_eq!(told(hello).unwrap(), "you are watching; 2 others are here; this session is recorded");
        assert_eq!(told(r#"{"type":"hello","viewers":1,"role":"writer"}"#), None);
        assert_eq!(
            told(r#"{"type":"role","role":"writer","writer":null}"#).unwrap(),
            "the keyboard is yours"
        );
        let named = "{\"type\":\"joined\",\"user\":\"a\\u001b[2Jb\",\"viewers\":2}";
        assert_eq!(told(named).unwrap(), "a[2Jb has joined");
        assert_eq!(Told::parse(r#"{"type":"later","x":1}"#), Some(Told::Other));
        assert_eq!(Told::parse("login: "), None);
    }

    #[test]
    fn messages_are_written_as_agreed() {
        assert_eq!(simple("break").to_string(), r#"{"type":"break"}"#);
        let size: Value = serde_json::from_str(r#"{"type":"resize","columns":132,"rows":50}"#).unwrap();
        assert_eq!(resize((132, 50)), size);
    }

    proptest! {
        #[test]
        fn no_text_panics_or_reaches_the_terminal_as_a_command(text in "\\PC{0,60}", name in any::<String>()) {
            let _ = Told::parse(&text);
            prop_assert!(!clean(&name).chars().any(char::is_control));
        }
    }
}
