"""Native code of the team: how threads share the blocks of a job, in LLVM IR.

A job is a list of *units*, each a kernel cut into blocks; blocks are numbered through as
*tickets*.  One atomic word hands the tickets out in order, one counts those that are done.
A unit may begin once a given number of tickets is done.  Nobody waits for a thread that holds
no ticket, so a thread that the system has set aside delays a job by one block at most.

Sync block, in lines of 128 bytes so that no two words are fetched together::

    state    threads << 40 | total << 20 | next ticket
    done     tickets finished
    job      addresses of units, of the unit of each ticket, and of the status word
    parking  futex word (int32) and number of sleepers (int32)
    fixed    address of syscall(), threads of the team

A job is a step like any other, ``share``, whose args block holds the address of a word with the
address of the sync block, then those of the units, of each ticket's unit and of the status word,
the number of tickets, and that of the threads that may help.  Only the calling thread runs it.

A thread takes a ticket by exchanging the whole state, so that what it has seen there holds for the
job whose ticket it gets, even if it slept through others.  It reads a job's memory only while it
holds one of its tickets: the job cannot end meanwhile.
"""

from __future__ import annotations

__all__ = ["LINE", "LLVM", "MOST_TICKETS", "STATE", "UNIT_WORDS"]

LINE = 128
# Byte offsets of the lines.
STATE, DONE, JOB, PARKING, FIXED = (LINE * k for k in range(5))
MOST_TICKETS = (1 << 20) - 1
# kernel, args, blocks, first ticket, tickets that must be done before.
UNIT_WORDS = 5
# Cycles of the time stamp counter: how long an idle worker watches for the next job before it sleeps
# (some 50 us), and how long a thread waits for another before it offers its CPU to others.
_IDLE, _PATIENCE = 150_000, 60_000
# Linux on x86-64: futex(2), sched_yield(2); FUTEX_WAIT and FUTEX_WAKE within one process.
_FUTEX, _YIELD, _WAIT, _WAKE = 202, 24, 128, 129

LLVM = f"""
declare i64 @llvm.readcyclecounter()
declare void @llvm.x86.sse2.pause()

define internal void @await(ptr %sync, i64 %required) nounwind {{
entry:
  %done_at = getelementptr inbounds i8, ptr %sync, i64 {DONE}
  %first = load atomic i64, ptr %done_at acquire, align 8
  %ready = icmp sge i64 %first, %required
  br i1 %ready, label %end, label %start
start:
  %begin = call i64 @llvm.readcyclecounter()
  br label %spin
spin:
  call void @llvm.x86.sse2.pause()
  %done = load atomic i64, ptr %done_at acquire, align 8
  %enough = icmp sge i64 %done, %required
  br i1 %enough, label %end, label %clock
clock:
  %now = call i64 @llvm.readcyclecounter()
  %waited = sub i64 %now, %begin
  %long = icmp ugt i64 %waited, {_PATIENCE}
  br i1 %long, label %give_way, label %spin
give_way:
  %syscall_at = getelementptr inbounds i8, ptr %sync, i64 {FIXED}
  %syscall = load ptr, ptr %syscall_at
  %ignored = call i64 (i64, ...) %syscall(i64 {_YIELD})
  br label %spin
end:
  ret void
}}

define internal i1 @has_tickets(i64 %state) nounwind {{
entry:
  %ticket = and i64 %state, {MOST_TICKETS}
  %shifted = lshr i64 %state, 20
  %total = and i64 %shifted, {MOST_TICKETS}
  %open = icmp ult i64 %ticket, %total
  ret i1 %open
}}

define internal void @work(ptr %sync, i64 %worker) nounwind {{
entry:
  %done_at = getelementptr inbounds i8, ptr %sync, i64 {DONE}
  %job_at = getelementptr inbounds i8, ptr %sync, i64 {JOB}
  %map_at = getelementptr inbounds i64, ptr %job_at, i64 1
  %status_at = getelementptr inbounds i64, ptr %job_at, i64 2
  br label %look
look:
  %seen = load atomic i64, ptr %sync acquire, align 8
  %ticket = and i64 %seen, {MOST_TICKETS}
  %left = call i1 @has_tickets(i64 %seen)
  %members = lshr i64 %seen, 40
  %member = icmp ult i64 %worker, %members
  %mine = and i1 %left, %member
  br i1 %mine, label %claim, label %end
claim:
  %following = add i64 %seen, 1
  %tried = cmpxchg ptr %sync, i64 %seen, i64 %following acq_rel monotonic
  %won = extractvalue {{ i64, i1 }} %tried, 1
  br i1 %won, label %find, label %look
find:
  %units = load ptr, ptr %job_at
  %map = load ptr, ptr %map_at
  %status = load ptr, ptr %status_at
  %number_at = getelementptr inbounds i64, ptr %map, i64 %ticket
  %number = load i64, ptr %number_at
  %offset = mul i64 %number, {UNIT_WORDS}
  %unit = getelementptr inbounds i64, ptr %units, i64 %offset
  %required_at = getelementptr inbounds i64, ptr %unit, i64 4
  %required = load i64, ptr %required_at
  call void @await(ptr %sync, i64 %required)
  %code = load atomic i64, ptr %status monotonic, align 8
  %clear = icmp eq i64 %code, 0
  br i1 %clear, label %compute, label %finish
compute:
  %args_at = getelementptr inbounds i64, ptr %unit, i64 1
  %blocks_at = getelementptr inbounds i64, ptr %unit, i64 2
  %first_at = getelementptr inbounds i64, ptr %unit, i64 3
  %kernel = load ptr, ptr %unit
  %args = load ptr, ptr %args_at
  %blocks = load i64, ptr %blocks_at
  %first = load i64, ptr %first_at
  %block = sub i64 %ticket, %first
  call void %kernel(ptr %args, i64 %block, i64 %blocks, i64 %worker) nounwind
  br label %finish
finish:
  %before = atomicrmw add ptr %done_at, i64 1 release
  br label %look
end:
  ret void
}}

define i64 @run_job(ptr %sync, ptr %units, ptr %map, ptr %status, i64 %total, i64 %threads) nounwind {{
entry:
  %done_at = getelementptr inbounds i8, ptr %sync, i64 {DONE}
  %job_at = getelementptr inbounds i8, ptr %sync, i64 {JOB}
  %map_at = getelementptr inbounds i64, ptr %job_at, i64 1
  %status_at = getelementptr inbounds i64, ptr %job_at, i64 2
  store ptr %units, ptr %job_at
  store ptr %map, ptr %map_at
  store ptr %status, ptr %status_at
  store atomic i64 0, ptr %done_at monotonic, align 8
  %high = shl i64 %threads, 40
  %middle = shl i64 %total, 20
  %state = or i64 %high, %middle
  store atomic i64 %state, ptr %sync seq_cst, align 8
  call void @wake(ptr %sync)
  call void @work(ptr %sync, i64 0)
  call void @await(ptr %sync, i64 %total)
  ret i64 0
}}

define void @share(ptr %args, i64 %block, i64 %blocks, i64 %worker) nounwind {{
entry:
  %cell = load ptr, ptr %args
  %sync = load ptr, ptr %cell
  %units_at = getelementptr inbounds i64, ptr %args, i64 1
  %units = load ptr, ptr %units_at
  %map_at = getelementptr inbounds i64, ptr %args, i64 2
  %map = load ptr, ptr %map_at
  %status_at = getelementptr inbounds i64, ptr %args, i64 3
  %status = load ptr, ptr %status_at
  %total_at = getelementptr inbounds i64, ptr %args, i64 4
  %total = load i64, ptr %total_at
  %threads_at = getelementptr inbounds i64, ptr %args, i64 5
  %threads = load i64, ptr %threads_at
  %ignored = call i64 @run_job(ptr %sync, ptr %units, ptr %map, ptr %status, i64 %total, i64 %threads)
  ret void
}}

define void @wake(ptr %sync) nounwind {{
entry:
  %futex = getelementptr inbounds i8, ptr %sync, i64 {PARKING}
  %sleepers_at = getelementptr inbounds i32, ptr %futex, i64 1
  %ignored = atomicrmw add ptr %futex, i32 1 seq_cst
  %sleepers = load atomic i32, ptr %sleepers_at seq_cst, align 4
  %any = icmp sgt i32 %sleepers, 0
  br i1 %any, label %call, label %end
call:
  %syscall_at = getelementptr inbounds i8, ptr %sync, i64 {FIXED}
  %syscall = load ptr, ptr %syscall_at
  %woken = call i64 (i64, ...) %syscall(i64 {_FUTEX}, ptr %futex, i64 {_WAKE}, i64 2147483647)
  br label %end
end:
  ret void
}}

define ptr @serve(ptr %place) nounwind {{
entry:
  %sync = load ptr, ptr %place
  %worker_at = getelementptr inbounds i64, ptr %place, i64 1
  %worker = load i64, ptr %worker_at
  %futex = getelementptr inbounds i8, ptr %sync, i64 {PARKING}
  %sleepers_at = getelementptr inbounds i32, ptr %futex, i64 1
  %syscall_at = getelementptr inbounds i8, ptr %sync, i64 {FIXED}
  %threads_at = getelementptr inbounds i64, ptr %syscall_at, i64 1
  %syscall = load ptr, ptr %syscall_at
  br label %next
next:
  %threads = load atomic i64, ptr %threads_at acquire, align 8
  %member = icmp slt i64 %worker, %threads
  br i1 %member, label %serving, label %leave
serving:
  call void @work(ptr %sync, i64 %worker)
  %begin = call i64 @llvm.readcyclecounter()
  br label %watch
watch:
  call void @llvm.x86.sse2.pause()
  %seen = load atomic i64, ptr %sync acquire, align 8
  %open = call i1 @has_tickets(i64 %seen)
  br i1 %open, label %next, label %clock
clock:
  %now = call i64 @llvm.readcyclecounter()
  %waited = sub i64 %now, %begin
  %long = icmp ugt i64 %waited, {_IDLE}
  br i1 %long, label %park, label %watch
park:
  %word = load atomic i32, ptr %futex seq_cst, align 4
  %again = load atomic i64, ptr %sync seq_cst, align 8
  %late = call i1 @has_tickets(i64 %again)
  %last_threads = load atomic i64, ptr %threads_at seq_cst, align 8
  %gone = icmp sge i64 %worker, %last_threads
  %stay_awake = or i1 %late, %gone
  br i1 %stay_awake, label %next, label %sleep
sleep:
  %counted = atomicrmw add ptr %sleepers_at, i32 1 seq_cst
  %woken = call i64 (i64, ...) %syscall(i64 {_FUTEX}, ptr %futex, i64 {_WAIT}, i32 %word, ptr null)
  %uncounted = atomicrmw sub ptr %sleepers_at, i32 1 seq_cst
  br label %next
leave:
  ret ptr null
}}
"""
