/**
 * The program that performs file operations on a host we reach by ssh: perl, because every Debian has perl-base, and
 * one process that stays costs no fork per operation, while configfs gives meaning to each system call (SFTP cannot
 * promise one write(2), and its error codes hide errno). Only Fcntl is used, which perl-base holds.
 *
 * One request line is one batch, one answer line its results (file-worker-protocol.ts). A line without its newline is
 * the rest of a lost connection and must not be performed. `$!` of a failure is saved before a handle closes and may
 * overwrite it. The umask is fixed, for the same modes on every host.
 */
export const fileWorkerProgram = String.raw`
use strict;
use Fcntl;
umask 022;
binmode STDIN; binmode STDOUT; $| = 1;

sub encode { my ($t) = @_; $t =~ s/([^A-Za-z0-9_.\/:-])/sprintf('%%%02x', ord $1)/ge; $t }
sub decode { my ($t) = @_; $t =~ s/%([0-9a-f]{2})/chr hex $1/ge; $t }

# The first $max bytes of a file, or undef and $!.
sub slurp {
  my ($path, $max) = @_;
  sysopen(my $h, $path, O_RDONLY) or return undef;
  my $text = '';
  while (length $text < $max) {
    my $want = $max - length $text;
    my $n = sysread($h, $text, $want < 65536 ? $want : 65536, length $text);
    if (!defined $n) { my $e = $! + 0; close $h; $! = $e; return undef }
    last if $n == 0;
  }
  close $h;
  return $text;
}

# open, ONE write(2), close. A short write is EIO: the rest would be a second command to configfs.
sub put {
  my ($path, $content, $mode) = @_;
  my $create = $mode ne '';
  sysopen(my $h, $path, O_WRONLY | ($create ? O_CREAT | O_TRUNC : 0), $create ? $mode : 0) or return undef;
  my $n = syswrite($h, $content);
  my $e = !defined $n ? $! + 0 : $n == length $content ? 0 : 5;
  if (!close($h) && !$e) { $e = $! + 0 }
  $! = $e;
  return $e ? undef : [];
}

sub names {
  my ($dir) = @_;
  opendir(my $h, $dir) or return undef;
  my @names = sort grep { $_ ne '.' && $_ ne '..' } readdir $h;
  closedir $h;
  return \@names;
}

sub glob_read {
  my ($pattern, $max) = @_;
  my ($root, @parts) = split /\//, $pattern, -1;
  my @paths = ('');
  for my $part (@parts) {
    if (index($part, '*') < 0) { $_ .= "/$part" for @paths; next }
    my $re = join '.*', map { quotemeta } split /\*/, $part, -1;
    my $dots = substr($part, 0, 1) eq '.';
    @paths = map {
      my $dir = $_;
      map { "$dir/$_" } grep { /\A$re\z/s && ($dots || !/\A\./) } @{ names($dir eq '' ? '/' : $dir) || [] };
    } @paths;
  }
  return [map { my $t = slurp($_, $max); defined $t ? ($_, $t) : () } sort @paths];
}

my %perform = (
  mkdir => sub { mkdir($_[0], $_[1]) ? [] : undef },
  rmdir => sub { rmdir($_[0]) ? [] : undef },
  unlink => sub { unlink($_[0]) ? [] : undef },
  symlink => sub { symlink($_[1], $_[0]) ? [] : undef },
  readlink => sub { my $t = readlink($_[0]); defined $t ? [$t] : undef },
  read => sub { my $t = slurp(@_); defined $t ? [$t] : undef },
  'read-glob' => \&glob_read,
  list => \&names,
  write => \&put,
);

while (defined(my $line = <STDIN>)) {
  chomp $line or last;
  my ($id, @operations) = split / /, $line;
  my @answers;
  for my $operation (@operations) {
    my ($name, $tolerated, @fields) = map { decode($_) } split /,/, $operation, -1;
    my $result = $perform{$name}->(@fields);
    if ($result) { push @answers, join ',', '+', map { encode($_) } @$result; next }
    my $errno = $! + 0;
    my $ok = grep { $_ eq $errno } split /:/, $tolerated;
    push @answers, ($ok ? '~' : '!') . $errno;
    last unless $ok;
  }
  print join(' ', $id, @answers), "\n";
}
`;
