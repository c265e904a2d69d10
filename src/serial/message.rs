//! The lines a serial viewer reads that no console said: why there is none, or that it was lost.

/// Switches off colours an earlier session may have left on, and starts a new line.
const BEGIN: &str = "\x1b[0m\r\n";
const BOLD_YELLOW: &str = "\x1b[1;33m";
const DIM: &str = "\x1b[2m";
const PLAIN: &str = "\x1b[0m";
/// The longest message or hint written, in characters.
const MAX_CHARS: usize = 512;

/// Why there is no console and, if not empty, what to do: for a terminal, so lines end with CRLF and colours
/// are the terminal's own. Readable as it is where nothing interprets the colours. Control characters in the
/// texts are left out, so that nothing in them reaches the terminal as a command.
pub fn refusal(message: &str, hint: &str) -> String {
    let mut text = format!("{BEGIN}{BOLD_YELLOW}Console not available:{PLAIN} {}\r\n", harmless(message));
    let hint = harmless(hint);
    if !hint.is_empty() {
        text.push_str(&format!("{DIM}{hint}{PLAIN}\r\n"));
    }
    text
}

/// A line of our own between what the console says.
pub fn notice(message: &str) -> String {
    format!("{BEGIN}{BOLD_YELLOW}{}{PLAIN}\r\n", harmless(message))
}

fn harmless(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(MAX_CHARS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_and_a_hint() {
        assert_eq!(
            refusal("This link was already used.", "Ask for a new one."),
            "\x1b[0m\r\n\x1b[1;33mConsole not available:\x1b[0m This link was already used.\r\n\x1b[2mAsk for a new one.\x1b[0m\r\n"
        );
        assert_eq!(refusal("Gone.", ""), "\x1b[0m\r\n\x1b[1;33mConsole not available:\x1b[0m Gone.\r\n");
    }

    #[test]
    fn a_notice_is_a_line_of_its_own() {
        assert_eq!(notice("Back.\x07"), "\x1b[0m\r\n\x1b[1;33mBack.\x1b[0m\r\n");
    }

    #[test]
    fn texts_cannot_command_the_terminal() {
        let text = refusal("a\x1b]0;x\x07\u{9b}31m\r\nb", &"y".repeat(9999));
        assert!(text.contains("available:\x1b[0m a]0;x31mb\r\n"), "{text:?}");
        assert!(text.len() < 700);
    }
}
