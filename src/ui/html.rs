//! Writes HTML. Markup is constant text of this program; all other text is escaped. So nothing that people wrote can become
//! markup.

use super::escape;

#[derive(Debug, Default)]
pub struct Html(String);

impl Html {
    /// Markup.
    pub fn raw(&mut self, markup: &'static str) -> &mut Html {
        self.0.push_str(markup);
        self
    }

    /// Text for elements and for quoted attributes. Characters that act or hide are shown by their number.
    pub fn text(&mut self, text: &str) -> &mut Html {
        for c in escape::line(text).chars() {
            match c {
                '&' => self.0.push_str("&amp;"),
                '<' => self.0.push_str("&lt;"),
                '>' => self.0.push_str("&gt;"),
                '"' => self.0.push_str("&quot;"),
                '\'' => self.0.push_str("&#39;"),
                c => self.0.push(c),
            }
        }
        self
    }

    /// Text with its line ends, for `pre`.
    pub fn text_with_lines(&mut self, text: &str) -> &mut Html {
        for line in text.lines() {
            self.text(line).raw("\n");
        }
        self
    }

    /// Text in a direction of its own, so that it does not change the order of what is around it.
    pub fn isolated(&mut self, text: &str) -> &mut Html {
        self.raw("<bdi>").text(text).raw("</bdi>")
    }

    /// A number without separators, for addresses and attributes.
    pub fn digits(&mut self, number: impl Into<i64>) -> &mut Html {
        let number: i64 = number.into();
        self.0.push_str(&number.to_string());
        self
    }

    /// A number for readers: `10,000`.
    pub fn count(&mut self, number: u64) -> &mut Html {
        self.0.push_str(&grouped(number));
        self
    }

    /// The lines of a drawing.
    pub fn path(&mut self, path: &SvgPath) -> &mut Html {
        self.0.push_str(&path.0);
        self
    }

    pub fn into_text(self) -> String {
        self.0
    }
}

/// Rectangles of a drawing, one after the other. It has numbers only.
#[derive(Debug, Default)]
pub struct SvgPath(String);

impl SvgPath {
    pub fn rectangle(&mut self, x: i64, y: i64, width: i64, height: i64) {
        self.0 += &format!("M{x} {y}h{width}v{height}h-{width}z");
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// `10,000`.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_text_becomes_markup() {
        let mut html = Html::default();
        html.raw("<p title=\"").text("\"><script>alert('1')</script>&amp;\u{202e}\n").raw("\">");
        assert_eq!(
            html.into_text(),
            "<p title=\"&quot;&gt;&lt;script&gt;alert(&#39;1&#39;)&lt;/script&gt;&amp;amp;\\u{202e} \">"
        );
    }

    #[test]
    fn thousands_are_grouped() {
        assert_eq!([0, 999, 1000, 1_234_567].map(grouped), ["0", "999", "1,000", "1,234,567"]);
    }
}
