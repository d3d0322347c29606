//! Drawing: scales, and the few shapes that plots are made of.

use std::fmt::{Display, Write as _};

/// Text that may stand in HTML and SVG, also in attributes.
pub(super) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            control if control.is_control() && control != '\n' => {
                escaped.extend(control.escape_default());
            }
            other => escaped.push(other),
        }
    }
    escaped
}

/// A drawing. Colours, and which end of a text stands at its position, come from the page, by class.
#[derive(Debug)]
pub(super) struct Svg {
    shapes: String,
    width: f64,
    height: f64,
    title: String,
}

impl Svg {
    pub(super) fn new(width: f64, height: f64, title: &str) -> Self {
        Self { shapes: String::new(), width, height, title: escape(title) }
    }

    pub(super) fn line(&mut self, class: &str, (x1, y1): (f64, f64), (x2, y2): (f64, f64)) {
        let _ = writeln!(
            self.shapes,
            "<line class=\"{class}\" x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\"/>"
        );
    }

    pub(super) fn rect(&mut self, class: &str, (x, y): (f64, f64), (width, height): (f64, f64)) {
        let width = width.max(0.0);
        let _ = writeln!(
            self.shapes,
            "<rect class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height:.1}\"/>"
        );
    }

    pub(super) fn dot(&mut self, class: &str, (x, y): (f64, f64), radius: f64) {
        let _ = writeln!(
            self.shapes,
            "<circle class=\"{class}\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"{radius}\"/>"
        );
    }

    pub(super) fn text(&mut self, class: &str, (x, y): (f64, f64), text: impl Display) {
        let text = escape(&text.to_string());
        let _ = writeln!(
            self.shapes,
            "<text class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\">{text}</text>"
        );
    }

    /// The drawing as an element of a page.
    pub(super) fn finish(self) -> String {
        let Self { shapes, width, height, title } = self;
        format!(
            "<svg viewBox=\"0 0 {width} {height}\" role=\"img\" aria-label=\"{title}\">\n{shapes}</svg>\n"
        )
    }
}

/// From values to positions.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scale {
    /// Values at both ends; logarithms where it is logarithmic.
    ends: (f64, f64),
    /// Whether it is logarithmic, so that it has no zero.
    pub(super) is_log: bool,
    /// Positions of both ends.
    pub(super) place: (f64, f64),
}

impl Scale {
    /// From 0 to a round number not below `max`.
    pub(super) fn linear(max: f64, place: (f64, f64)) -> Self {
        let max = if max.is_finite() && max > 0.0 { max } else { 1.0 };
        let step = step(max);
        Self { ends: (0.0, (max / step).ceil() * step), is_log: false, place }
    }

    /// From `min` to `max`, both above zero, and a little more on either side.
    pub(super) fn log(min: f64, max: f64, place: (f64, f64)) -> Self {
        let (min, max) =
            if min > 0.0 && max >= min && max.is_finite() { (min, max) } else { (1.0, 10.0) };
        let (low, high) = (min.log10(), max.log10());
        let margin = ((high - low) * 0.05).max(0.02);
        Self { ends: (low - margin, high + margin), is_log: true, place }
    }

    /// The position of a value.
    pub(super) fn at(&self, value: f64) -> f64 {
        let value = if self.is_log { value.log10() } else { value };
        let part = (value - self.ends.0) / (self.ends.1 - self.ends.0);
        self.place.0 + part.clamp(0.0, 1.0) * (self.place.1 - self.place.0)
    }

    /// Round values along it.
    pub(super) fn ticks(&self) -> Vec<f64> {
        let (low, high) = self.ends;
        if !self.is_log {
            let step = step(high);
            return (0..=20)
                .map(|index| f64::from(index) * step)
                .take_while(|tick| *tick <= high * 1.001)
                .collect();
        }
        let span = high - low;
        let factors: &[f64] = match span {
            _ if span < 0.15 => {
                // Less than half as much again: round steps, as if it were linear.
                let (low, high) = (10_f64.powf(low), 10_f64.powf(high));
                let step = step(high - low);
                let first = (low / step).ceil();
                return (0..10)
                    .map(|index| (first + f64::from(index)) * step)
                    .take_while(|tick| *tick <= high)
                    .collect();
            }
            _ if span < 1.2 => &[1.0, 1.5, 2.0, 3.0, 5.0, 7.0],
            _ if span < 2.5 => &[1.0, 3.0],
            _ => &[1.0],
        };
        let decades = low.floor() as i32..=high.ceil() as i32;
        let every = if span > 6.0 { 2 } else { 1 };
        decades
            .filter(|decade| decade % every == 0)
            .flat_map(|decade| factors.iter().map(move |factor| factor * 10_f64.powi(decade)))
            .filter(|tick| (low..=high).contains(&tick.log10()))
            .collect()
    }
}

/// A round step of which three to six make up `span`.
fn step(span: f64) -> f64 {
    let rough = span / 4.0;
    let power = 10_f64.powf(rough.log10().floor());
    let factor = match rough / power {
        part if part < 1.5 => 1.0,
        part if part < 3.5 => 2.0,
        part if part < 7.5 => 5.0,
        _ => 10.0,
    };
    factor * power
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn values_fall_inside_and_ticks_are_few(low in 1e-3_f64..1e12, factor in 1.0_f64..1e9) {
            let high = low * factor;
            for scale in [Scale::linear(high, (10.0, 110.0)), Scale::log(low, high, (10.0, 110.0))] {
                let (one, other) = (scale.at(low), scale.at(high));
                prop_assert!((10.0..=110.0).contains(&one) && one <= other && other <= 110.0);
                let ticks = scale.ticks();
                prop_assert!(ticks.is_sorted() && (1..=14).contains(&ticks.len()), "{:?}", ticks);
            }
        }

        #[test]
        fn escaped_text_is_no_markup(text: String) {
            let escaped = escape(&format!("{text}\0"));
            prop_assert!(!escaped.contains(['<', '>', '"', '\'', '\0']));
        }
    }
}
