//! The metrics of a process, by name.

use std::collections::BTreeMap;

use crate::host::abi::{MetricType, Status};

/// The state of one metric.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Metric {
    /// Sum of all increments.
    Counter(u64),
    /// Last value.
    Gauge(u64),
    /// Every sample, in order.
    Histogram(Vec<u64>),
}

impl Metric {
    /// The number that a scrape shows; for a histogram, its number of samples.
    pub fn value(&self) -> u64 {
        match self {
            Metric::Counter(value) | Metric::Gauge(value) => *value,
            Metric::Histogram(samples) => samples.len() as u64,
        }
    }
}

/// The metrics of a process. A metric's id is its index plus one, the same in every VM.
#[derive(Debug, Default)]
pub struct Metrics {
    ids: BTreeMap<(u32, String), u32>,
    metrics: Vec<(String, Metric)>,
}

impl Metrics {
    /// The id of a metric; creates it if there is none of this type and name.
    pub fn define(&mut self, kind: MetricType, name: &str) -> u32 {
        let key = (kind as u32, name.to_owned());
        if let Some(id) = self.ids.get(&key) {
            return *id;
        }
        let metric = match kind {
            MetricType::Counter => Metric::Counter(0),
            MetricType::Gauge => Metric::Gauge(0),
            MetricType::Histogram => Metric::Histogram(Vec::new()),
        };
        self.metrics.push((name.to_owned(), metric));
        let id = u32::try_from(self.metrics.len()).expect("a test defines a handful of metrics");
        self.ids.insert(key, id);
        id
    }

    /// Adds to a counter or gauge.
    ///
    /// # Errors
    /// [`Status::NotFound`] for an unknown id; [`Status::BadArgument`] for a histogram or a counter going down.
    pub fn increment(&mut self, id: u32, by: i64) -> Result<(), Status> {
        match self.metric(id)? {
            Metric::Counter(value) => *value += u64::try_from(by).map_err(|_| Status::BadArgument)?,
            Metric::Gauge(value) => *value = value.saturating_add_signed(by),
            Metric::Histogram(_) => return Err(Status::BadArgument),
        }
        Ok(())
    }

    /// Sets a gauge, adds to a counter, or records a sample.
    ///
    /// # Errors
    /// [`Status::NotFound`] for an unknown id.
    pub fn record(&mut self, id: u32, value: u64) -> Result<(), Status> {
        match self.metric(id)? {
            Metric::Counter(sum) => *sum += value,
            Metric::Gauge(current) => *current = value,
            Metric::Histogram(samples) => samples.push(value),
        }
        Ok(())
    }

    /// Reads a counter or gauge.
    ///
    /// # Errors
    /// [`Status::NotFound`] for an unknown id, [`Status::BadArgument`] for a histogram.
    pub fn get(&mut self, id: u32) -> Result<u64, Status> {
        match self.metric(id)? {
            Metric::Counter(value) | Metric::Gauge(value) => Ok(*value),
            Metric::Histogram(_) => Err(Status::BadArgument),
        }
    }

    /// What kind of metric this is.
    ///
    /// # Errors
    /// [`Status::NotFound`] for an unknown id.
    pub fn kind(&mut self, id: u32) -> Result<MetricType, Status> {
        Ok(match self.metric(id)? {
            Metric::Counter(_) => MetricType::Counter,
            Metric::Gauge(_) => MetricType::Gauge,
            Metric::Histogram(_) => MetricType::Histogram,
        })
    }

    /// A metric by the guest's name for it.
    pub fn named(&self, name: &str) -> Option<&Metric> {
        self.iter().find(|(known, _)| *known == name).map(|(_, metric)| metric)
    }

    /// Every metric, in the order of definition.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Metric)> {
        self.metrics.iter().map(|(name, metric)| (name.as_str(), metric))
    }

    fn metric(&mut self, id: u32) -> Result<&mut Metric, Status> {
        let index = (id as usize).checked_sub(1).ok_or(Status::NotFound)?;
        self.metrics.get_mut(index).map(|(_, metric)| metric).ok_or(Status::NotFound)
    }
}
