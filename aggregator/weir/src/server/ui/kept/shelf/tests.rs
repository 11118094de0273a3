use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::oneshot;

use super::*;
use weir_contract::Timestamp;

const SECOND: Duration = Duration::from_secs(1);
/// A moment long after the start.
const NOW: Duration = Duration::from_secs(1_000_000);

fn figures(of: u64, read_at: Duration, took: Duration) -> Figures<u64> {
    Figures { of, at: Timestamp::default(), through: 0, read_at, took }
}

async fn just(of: u64) -> Result<Figures<u64>, ApiError> {
    Ok(figures(of, NOW, Duration::ZERO))
}

async fn failing() -> Result<Figures<u64>, ApiError> {
    Err(ApiError::Report("the week has not begun".to_owned()))
}

/// Reads that must not happen.
async fn never() -> Result<Figures<u64>, ApiError> {
    panic!("nothing is to be read")
}

/// A shelf that has an answer of this age.
fn shelf(question: &str, age: Duration, took: Duration) -> Arc<Shelf<u64>> {
    let shelf = Arc::new(Shelf::default());
    keep(&shelf, question, age, took, Duration::ZERO);
    shelf
}

fn keep(shelf: &Shelf<u64>, question: &str, age: Duration, took: Duration, unseen: Duration) {
    let figures = Arc::new(figures(1, NOW - age, took));
    shelf.lock().keep(question.to_owned(), Answer { figures, looked_at: NOW - unseen });
}

/// A shelf whose looks wait for a moment only.
fn impatient() -> Arc<Shelf<u64>> {
    Arc::new(Shelf { wait: Duration::from_millis(20), ..Shelf::default() })
}

/// What a look finds.
async fn look(
    shelf: &Arc<Shelf<u64>>,
    question: &str,
    read: impl Future<Output = Result<Figures<u64>, ApiError>> + Send + 'static,
) -> Option<u64> {
    let found = shelf.get(question, NOW, read).await.expect("no failure");
    found.map(|figures| figures.of)
}

/// Waits until nobody reads.
async fn settled(shelf: &Shelf<u64>) {
    drop(tokio::time::timeout(30 * SECOND, shelf.turn.lock()).await.expect("reading ends"));
}

#[tokio::test]
async fn the_first_look_reads_and_the_next_ones_find_what_it_read() {
    let shelf = Arc::new(Shelf::default());
    assert_eq!(look(&shelf, "model", just(7)).await, Some(7));
    assert_eq!(look(&shelf, "model", never()).await, Some(7));
    assert_eq!(look(&shelf, "feature", just(8)).await, Some(8), "another question has an answer of its own");
    assert_eq!(shelf.count(), 2);
}

#[tokio::test]
async fn a_look_reads_what_is_old_only_where_that_is_quick() {
    assert_eq!(look(&shelf("", OLD - SECOND, QUICK), "", never()).await, Some(1), "not old");
    assert_eq!(look(&shelf("", OLD, QUICK), "", just(2)).await, Some(2), "old, and quickly read");
    assert_eq!(look(&shelf("", OLD, QUICK + SECOND), "", never()).await, Some(1), "old, and slowly read");
}

#[tokio::test]
async fn figures_that_take_long_are_there_for_a_later_look() {
    let shelf = impatient();
    let (read, is_read) = oneshot::channel::<()>();
    let slow = async move {
        drop(is_read.await);
        just(5).await
    };
    assert_eq!(look(&shelf, "", slow).await, None, "the page need not wait");
    assert_eq!(look(&shelf, "", never()).await, None, "who looks meanwhile reads nothing");
    assert!(read.send(()).is_ok(), "reading goes on");
    settled(&shelf).await;
    assert_eq!(look(&shelf, "", never()).await, Some(5));
}

#[tokio::test]
async fn old_figures_are_shown_where_newer_ones_take_long_after_all() {
    let shelf = impatient();
    keep(&shelf, "", OLD, QUICK, Duration::ZERO);
    assert_eq!(look(&shelf, "", std::future::pending()).await, Some(1));
}

#[tokio::test]
async fn however_many_look_one_answer_is_read_at_a_time() {
    static READING: AtomicUsize = AtomicUsize::new(0);
    static READ: AtomicUsize = AtomicUsize::new(0);
    let read = || async {
        assert_eq!(READING.fetch_add(1, Ordering::SeqCst), 0, "another one is being read");
        READ.fetch_add(1, Ordering::SeqCst);
        sleep(Duration::from_millis(5)).await;
        READING.fetch_sub(1, Ordering::SeqCst);
        just(1).await
    };
    let shelf: Arc<Shelf<u64>> = Arc::new(Shelf { wait: 30 * SECOND, ..Shelf::default() });
    let questions = (0..30).map(|number| ["model", "feature", "key"][number % 3]);
    let looks = questions.map(|question| look(&shelf, question, read()));
    assert!(futures::future::join_all(looks).await.iter().all(|found| *found == Some(1)));
    assert_eq!(READ.load(Ordering::SeqCst), 3, "each question once");
}

#[tokio::test]
async fn a_failure_is_told_once_and_the_next_look_reads_again() {
    let shelf = Arc::new(Shelf::default());
    let why = shelf.get("", NOW, failing()).await.expect_err("a failure");
    assert!(why.to_string().contains("not begun"), "{why}");
    assert_eq!(look(&shelf, "", just(3)).await, Some(3));
}

#[tokio::test]
async fn a_failure_that_takes_long_is_told_to_the_next_look_unless_that_comes_long_after() {
    for (later, is_told) in [(FRESH - SECOND, true), (FRESH, false)] {
        let shelf = impatient();
        let (read, is_read) = oneshot::channel::<()>();
        let slow = async move {
            drop(is_read.await);
            failing().await
        };
        assert_eq!(look(&shelf, "", slow).await, None);
        drop(read);
        settled(&shelf).await;
        let next = shelf.get("", NOW + later, just(4)).await;
        assert_eq!(next.is_err(), is_told, "{later:?}");
    }
}

#[tokio::test]
async fn failures_are_kept_of_a_bounded_number_of_questions() {
    let shelf: Arc<Shelf<u64>> = Arc::new(Shelf::default());
    for number in 0..3 * ANSWERS_MAX {
        shelf.note(number.to_string(), NOW, failing().await);
    }
    assert_eq!(shelf.lock().failed.len(), ANSWERS_MAX);
}

#[tokio::test]
async fn a_read_that_panics_takes_nobodys_turn_for_good() {
    let shelf = Arc::new(Shelf::default());
    assert_eq!(look(&shelf, "", never()).await, None, "there is nothing to show");
    assert_eq!(look(&shelf, "", just(6)).await, Some(6));
}

#[tokio::test]
async fn a_further_answer_takes_the_place_of_the_one_that_was_looked_at_longest_ago() {
    let shelf = Arc::new(Shelf::default());
    for number in 0..ANSWERS_MAX {
        keep(
            &shelf,
            &number.to_string(),
            Duration::ZERO,
            Duration::ZERO,
            SECOND * u32::try_from(number).expect("small"),
        );
    }
    assert_eq!(look(&shelf, "another", just(9)).await, Some(9));
    let last = (ANSWERS_MAX - 1).to_string();
    let state = shelf.lock();
    assert_eq!((state.answers.len(), state.answers.contains_key(&last)), (ANSWERS_MAX, false));
}

#[test]
fn figures_are_read_again_more_often_while_somebody_looks() {
    let due = |age: Duration, unseen: Duration| {
        let shelf = Shelf::default();
        keep(&shelf, "", age, Duration::ZERO, unseen);
        let due = shelf.lock().due(NOW);
        due.is_some()
    };
    assert_eq!((due(FRESH - SECOND, Duration::ZERO), due(FRESH, Duration::ZERO)), (false, true));
    assert_eq!((due(FRESH, LOOKED_AT), due(IDLE - SECOND, LOOKED_AT), due(IDLE, LOOKED_AT)), (false, false, true));
}

#[test]
fn the_oldest_figures_are_read_first_and_those_that_nobody_looks_at_are_forgotten() {
    let shelf = Shelf::default();
    keep(&shelf, "younger", FRESH, Duration::ZERO, Duration::ZERO);
    keep(&shelf, "older", 2 * FRESH, Duration::ZERO, Duration::ZERO);
    keep(&shelf, "left", 3 * IDLE, Duration::ZERO, KEPT_FOR);
    assert_eq!(shelf.lock().due(NOW).as_deref(), Some("older"));
    assert_eq!(shelf.count(), 2);
}

#[tokio::test]
async fn reading_in_the_background_takes_at_most_a_tenth_of_the_time() {
    let (shelf, took) = (shelf("", FRESH, Duration::ZERO), Duration::from_millis(20));
    let began = Instant::now();
    let read = |_: &str| async move {
        sleep(took).await;
        just(2).await
    };
    shelf.read_again(NOW, read).await;
    assert!(began.elapsed() >= 10 * took, "{:?}", began.elapsed());
    assert_eq!(look(&shelf, "", never()).await, Some(2));
    let began = Instant::now();
    shelf.read_again(NOW, |_: &str| never()).await;
    assert!(began.elapsed() < 10 * took, "nothing is due");
}

#[tokio::test]
async fn the_background_lets_go_of_what_it_cannot_read_so_that_the_next_look_says_why() {
    let shelf = shelf("", FRESH, Duration::ZERO);
    shelf.read_again(NOW, |_: &str| failing()).await;
    assert_eq!(shelf.count(), 0);
    assert!(shelf.get("", NOW, failing()).await.is_err());
}

#[tokio::test]
async fn the_background_reads_nothing_while_a_look_reads() {
    let shelf = impatient();
    keep(&shelf, "due", FRESH, Duration::ZERO, Duration::ZERO);
    assert_eq!(look(&shelf, "other", std::future::pending()).await, None);
    shelf.read_again(NOW, |_: &str| never()).await;
    assert_eq!(look(&shelf, "due", never()).await, Some(1));
}
