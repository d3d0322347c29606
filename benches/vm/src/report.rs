//! The figures that were asked for, as a table or JSON.

use crate::figure::{Figure, Samples};
use anyhow::{Context, Result};
use std::fs;
use std::io::{self, Write};

/// Figures as they come in.
#[derive(Debug)]
pub struct Report {
    only: String,
    figures: Vec<Figure>,
}

impl Report {
    /// One that wants the figures whose key contains a text.
    pub fn only(part: &str) -> Report {
        Report { only: part.to_owned(), figures: Vec::new() }
    }

    /// Whether a figure is wanted.
    pub fn wants(&self, figure: &Figure) -> bool {
        figure.key().contains(&self.only)
    }

    /// Measures a figure that is wanted: the samples' median.
    ///
    /// # Errors
    /// When it cannot be measured.
    pub fn add(&mut self, figure: Figure, measure: impl FnOnce() -> Result<Samples>) -> Result<()> {
        if self.wants(&figure) {
            writeln!(io::stderr(), "measuring {} ...", figure.key())?;
            let samples = measure().with_context(|| format!("cannot measure {}", figure.key()))?;
            self.push(figure.with(samples.median(), &samples));
        }
        Ok(())
    }

    /// Adds a figure.
    pub fn push(&mut self, figure: Figure) {
        self.figures.push(figure);
    }

    /// Prints all: a table, or a JSON object with the keys.
    ///
    /// # Errors
    /// When nobody reads it.
    pub fn print(&self, json: bool) -> Result<()> {
        let mut out = io::stdout().lock();
        if json {
            let pairs = self.figures.iter().map(|f| (f.key().to_owned(), f.value().into()));
            let object: serde_json::Map<String, serde_json::Value> = pairs.collect();
            serde_json::to_writer(&mut out, &object)?;
            writeln!(out)?;
            return Ok(());
        }
        let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
        let cores = std::thread::available_parallelism()?;
        writeln!(out, "| figure | key | target | median | best to worst | runs |")?;
        writeln!(out, "| --- | --- | --- | --- | --- | --- |")?;
        for figure in &self.figures {
            writeln!(out, "{figure}")?;
        }
        writeln!(
            out,
            "\n{cores} cores; load of the last minute {}",
            load.split(' ').next().unwrap_or("?")
        )?;
        Ok(())
    }
}
