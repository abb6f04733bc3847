//! nginx's syntax: text to directives with their words and blocks, as its own reader splits them.
//!
//! What a directive means is not known here.

use super::Fault;

/// The longest text that is read.
const MAX_TEXT: usize = 64 * 1024;
/// How many directives a text may hold, and how many words one of them.
const MAX_DIRECTIVES: usize = 512;
const MAX_WORDS: usize = 64;
/// How deep blocks may lie in blocks.
const MAX_DEPTH: usize = 8;

/// One directive.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Directive {
    /// Where it begins, from 1.
    pub(super) line: u32,
    pub(super) name: String,
    pub(super) words: Vec<String>,
    pub(super) block: Option<Vec<Self>>,
}

impl Directive {
    pub(super) fn fault(&self, what: impl Into<String>) -> Fault {
        Fault {
            line: self.line,
            directive: self.name.clone(),
            what: what.into(),
        }
    }
}

/// Reads a text.
pub(super) fn read(text: &str) -> Result<Vec<Directive>, Fault> {
    if text.len() > MAX_TEXT {
        return Err(fault(
            1,
            format!("the text is longer than {MAX_TEXT} bytes"),
        ));
    }
    let mut tokens = Tokens {
        text: text.as_bytes(),
        at: 0,
        line: 1,
    };
    let mut count = 0;
    // The directives of the innermost open block last; each but the first is of the directive before it.
    let mut open: Vec<(Directive, Vec<Directive>)> = Vec::new();
    let mut current = Vec::new();
    let mut directive: Option<Directive> = None;
    loop {
        tokens.skip_blanks();
        let line = tokens.line;
        match tokens.next()? {
            Token::Word(line, word) => match &mut directive {
                None => {
                    count += 1;
                    if count > MAX_DIRECTIVES {
                        let what = format!("there are more than {MAX_DIRECTIVES} directives");
                        return Err(fault(line, what));
                    }
                    directive = Some(Directive {
                        line,
                        name: word,
                        ..Directive::default()
                    });
                }
                Some(directive) if directive.words.len() == MAX_WORDS => {
                    return Err(directive.fault(format!("has more than {MAX_WORDS} words")));
                }
                Some(directive) => directive.words.push(word),
            },
            Token::End => {
                let done = directive.take();
                current.push(done.ok_or_else(|| fault(line, "\";\" ends nothing"))?);
            }
            Token::Open => {
                let owner = directive.take();
                let owner = owner.ok_or_else(|| fault(line, "\"{\" opens nothing"))?;
                if open.len() == MAX_DEPTH {
                    return Err(owner.fault(format!("lies deeper than {MAX_DEPTH} blocks")));
                }
                open.push((owner, std::mem::take(&mut current)));
            }
            Token::Close => {
                if let Some(directive) = directive {
                    return Err(directive.fault("is not ended by \";\""));
                }
                let (mut owner, outer) = open
                    .pop()
                    .ok_or_else(|| fault(line, "\"}\" closes nothing"))?;
                owner.block = Some(std::mem::replace(&mut current, outer));
                current.push(owner);
            }
            Token::Nothing => {
                let open = open
                    .pop()
                    .map(|(owner, _)| owner.fault("is not closed by \"}\""));
                let begun = directive.map(|directive| directive.fault("is not ended by \";\""));
                return open.or(begun).map_or(Ok(current), Err);
            }
        }
    }
}

fn fault(line: u32, what: impl Into<String>) -> Fault {
    Fault {
        line,
        directive: String::new(),
        what: what.into(),
    }
}

enum Token {
    /// With the line that it begins on.
    Word(u32, String),
    End,
    Open,
    Close,
    Nothing,
}

struct Tokens<'t> {
    text: &'t [u8],
    at: usize,
    line: u32,
}

impl Tokens<'_> {
    fn next(&mut self) -> Result<Token, Fault> {
        let Some(byte) = self.peek() else {
            return Ok(Token::Nothing);
        };
        let token = match byte {
            b';' => Token::End,
            b'{' => Token::Open,
            b'}' => Token::Close,
            b'"' | b'\'' => return self.quoted(byte),
            _ => return self.bare(),
        };
        self.bump();
        Ok(token)
    }

    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    fn bump(&mut self) {
        if self.peek() == Some(b'\n') {
            self.line += 1;
        }
        self.at += 1;
    }

    fn skip_blanks(&mut self) {
        let mut comment = false;
        while let Some(byte) = self.peek() {
            match byte {
                b'\n' => comment = false,
                b'#' => comment = true,
                _ if comment || is_blank(byte) => {}
                _ => return,
            }
            self.bump();
        }
    }

    /// A word in quotes. What follows has to show that it ends there.
    fn quoted(&mut self, quote: u8) -> Result<Token, Fault> {
        let line = self.line;
        self.bump();
        let start = self.at;
        loop {
            match self.peek() {
                None => return Err(fault(line, "a quote is not closed")),
                Some(b'\\') => self.bump(),
                Some(byte) if byte == quote => break,
                Some(_) => {}
            }
            self.bump();
        }
        let word = self.word(start);
        self.bump();
        match self.peek() {
            Some(byte) if !is_blank(byte) && !b";{)".contains(&byte) => {
                let next = char::from(byte);
                Err(fault(self.line, format!("{next:?} follows a closed quote")))
            }
            _ => Ok(Token::Word(line, word)),
        }
    }

    /// A word without quotes: up to a blank, `;` or `{` that is not of `${`.
    fn bare(&mut self) -> Result<Token, Fault> {
        let (line, start) = (self.line, self.at);
        let mut dollar = false;
        while let Some(byte) = self.peek() {
            match byte {
                b'{' if dollar => {}
                b';' | b'{' => break,
                _ if is_blank(byte) => break,
                b'\\' => self.bump(),
                _ => {}
            }
            dollar = byte == b'$';
            self.bump();
        }
        Ok(Token::Word(line, self.word(start)))
    }

    /// From `start` up to here, with `\"`, `\'`, `\\`, `\t`, `\r` and `\n` read. Only whole characters are cut.
    fn word(&self, start: usize) -> String {
        let raw = self.text.get(start..self.at.min(self.text.len()));
        let mut word = Vec::new();
        let mut bytes = raw.unwrap_or_default().iter().copied().peekable();
        while let Some(byte) = bytes.next() {
            let next = bytes.peek().filter(|_| byte == b'\\');
            let read = match next {
                Some(quote @ (b'"' | b'\'' | b'\\')) => Some(*quote),
                Some(b't') => Some(b'\t'),
                Some(b'r') => Some(b'\r'),
                Some(b'n') => Some(b'\n'),
                _ => None,
            };
            if read.is_some() {
                bytes.next();
            }
            word.push(read.unwrap_or(byte));
        }
        String::from_utf8_lossy(&word).into_owned()
    }
}

const fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | b'\n')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn shown(directives: &[Directive]) -> String {
        let one = |directive: &Directive| {
            let words = &directive.words;
            let block = directive.block.as_deref().map(shown).unwrap_or_default();
            format!("{}:{}{words:?}{block}", directive.line, directive.name)
        };
        let all: Vec<_> = directives.iter().map(one).collect();
        format!("<{}>", all.join(" "))
    }

    #[test]
    fn texts_are_split_as_nginx_splits_them() {
        for (text, want) in [
            ("", "<>"),
            ("  # only; a { comment\n", "<>"),
            ("a;", "<1:a[]>"),
            ("a b  c;\n\nd;", r#"<1:a["b", "c"] 3:d[]>"#),
            ("a \"b c\" 'd;e';", r#"<1:a["b c", "d;e"]>"#),
            (r#"a "b\"c" 'd\'e' \"f;"#, r#"<1:a["b\"c", "d'e", "\"f"]>"#),
            (r"a \. \\d \w+\;b;", r#"<1:a["\\.", "\\d", "\\w+\\;b"]>"#),
            (r#"a "x\ny";"#, r#"<1:a["x\ny"]>"#),
            ("a ${b}c {d;}", r#"<1:a["${b}c"]<1:d[]>>"#),
            ("a b#c # d\n;", r#"<1:a["b#c"]>"#),
            (
                "if ($a = \"b\") { return 403; }",
                r#"<1:if["($a", "=", "b", ")"]<1:return["403"]>>"#,
            ),
            ("a{b{c d;}}e;", r#"<1:a[]<1:b[]<1:c["d"]>> 1:e[]>"#),
            ("a b}c;", r#"<1:a["b}c"]>"#),
            ("a é;", r#"<1:a["é"]>"#),
        ] {
            let got = read(text).map(|directives| shown(&directives));
            assert_eq!(got.as_deref(), Ok(want), "{text:?}");
        }
    }

    #[test]
    fn what_is_out_of_shape_is_named_with_its_line() {
        for (text, want) in [
            ("a;\nb", "line 2: b: is not ended by \";\""),
            ("a {\nb;", "line 1: a: is not closed by \"}\""),
            ("a; }\nlocation / { b; }", "line 1: \"}\" closes nothing"),
            ("\n;", "line 2: \";\" ends nothing"),
            ("{ a; }", "line 1: \"{\" opens nothing"),
            ("a { b }", "line 1: b: is not ended by \";\""),
            ("a \"b;\nc", "line 1: a quote is not closed"),
            ("a \"b\"c;", "line 1: 'c' follows a closed quote"),
            ("a \\", "line 1: a: is not ended by \";\""),
            (&"a{".repeat(9), "line 1: a: lies deeper than 8 blocks"),
            (
                &"a;\n".repeat(513),
                "line 513: there are more than 512 directives",
            ),
            (&"a ".repeat(66), "line 1: a: has more than 64 words"),
            (
                &" ".repeat(MAX_TEXT + 1),
                "line 1: the text is longer than 65536 bytes",
            ),
        ] {
            let got = read(text).map_err(|fault| fault.to_string());
            assert_eq!(
                got,
                Err(want.to_owned()),
                "{:?}",
                &text[..text.len().min(40)]
            );
        }
    }

    /// Directives as a text that means them.
    fn written(directives: &[Directive]) -> String {
        let quoted =
            |word: &String| format!(" \"{}\"", word.replace('\\', "\\\\").replace('"', "\\\""));
        let one = |directive: &Directive| {
            let words: String = directive.words.iter().map(quoted).collect();
            match &directive.block {
                Some(block) => format!("{}{words} {{ {} }}", directive.name, written(block)),
                None => format!("{}{words};", directive.name),
            }
        };
        directives.iter().map(one).collect()
    }

    fn directives() -> impl Strategy<Value = Vec<Directive>> {
        let name = "[a-z_]{1,8}";
        let words = proptest::collection::vec("\\PC{0,12}", 0..4);
        let leaf = (name, words).prop_map(|(name, words)| Directive {
            line: 1,
            name,
            words,
            block: None,
        });
        let tree = leaf.prop_recursive(3, 24, 4, move |inner| {
            (name, proptest::collection::vec(inner, 0..4)).prop_map(|(name, block)| Directive {
                line: 1,
                name,
                words: Vec::new(),
                block: Some(block),
            })
        });
        proptest::collection::vec(tree, 0..4)
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "[ \\n;{}\"'\\\\#$()a-cé]{0,60}") {
            let _ = read(&text);
        }

        #[test]
        fn what_is_written_is_read(directives in directives()) {
            prop_assert_eq!(read(&written(&directives)), Ok(directives));
        }
    }
}
