//! Processor time per event, by thread: unlike rates, it hardly changes when other work shares the machine.
use std::fmt;
use std::time::Duration;

/// The processor time of this process so far.
#[derive(Clone, Copy, Default)]
pub(crate) struct Cpu {
    ledger: Duration,
    log: Duration,
    server: Duration,
    all: Duration,
}

/// Processor time per event.
pub(crate) struct PerEvent(Cpu, u64);

impl Cpu {
    pub(crate) fn now() -> Self {
        let mut cpu = Cpu { all: of_process(), ..Cpu::default() };
        for task in std::fs::read_dir("/proc/self/task").expect("threads").flatten() {
            // A thread may end in between.
            let read = |file| std::fs::read_to_string(task.path().join(file)).unwrap_or_default();
            let nanos = read("schedstat").split(' ').next().and_then(|ns| ns.parse().ok()).unwrap_or(0);
            let spent = Duration::from_nanos(nanos);
            match read("comm").trim() {
                "ledger" => cpu.ledger += spent,
                "log-writer" => cpu.log += spent,
                name if name.starts_with("tokio") => cpu.server += spent,
                _ => {}
            }
        }
        cpu
    }

    /// The time spent since `before`, on `events`.
    pub(crate) fn since(self, before: Cpu, events: u64) -> PerEvent {
        let spent = Cpu {
            ledger: self.ledger.saturating_sub(before.ledger),
            log: self.log.saturating_sub(before.log),
            server: self.server.saturating_sub(before.server),
            all: self.all.saturating_sub(before.all),
        };
        PerEvent(spent, events.max(1))
    }
}

impl fmt::Display for PerEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let PerEvent(cpu, events) = self;
        let micros = |spent: Duration| spent.as_secs_f64() * 1e6 / *events as f64;
        let rest = cpu.all.saturating_sub(cpu.ledger + cpu.log + cpu.server);
        write!(
            f,
            "{:.2} µs (ledger {:.2}, log {:.2}, server {:.2}, load generator {:.2}): 2 cores suffice for {:.0} events/s",
            micros(cpu.all),
            micros(cpu.ledger),
            micros(cpu.log),
            micros(cpu.server),
            micros(rest),
            2e6 / micros(cpu.all)
        )
    }
}

/// The time of the threads that there are, to the nanosecond.
pub(crate) fn of_threads() -> Duration {
    let mut nanos = 0;
    for task in std::fs::read_dir("/proc/self/task").expect("threads").flatten() {
        let text = std::fs::read_to_string(task.path().join("schedstat")).unwrap_or_default();
        nanos += text.split(' ').next().and_then(|ns| ns.parse::<u64>().ok()).unwrap_or(0);
    }
    Duration::from_nanos(nanos)
}

/// The time of all threads, including those that have ended, in ticks of 10 ms (proc_pid_stat(5), fields 14 and 15).
fn of_process() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").expect("this process");
    let after_name = stat.rsplit(')').next().unwrap_or_default();
    let ticks: u64 = after_name.split_whitespace().skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum();
    Duration::from_millis(ticks * 10)
}
