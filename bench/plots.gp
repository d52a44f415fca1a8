# Draws the rows that bench/summary.cpp made: DIR/rows.csv into PNG files beside it. A plot whose
# rows were not measured is left out. Usage: gnuplot -e "dir='bench/out/COMMIT'" bench/plots.gp
if (!exists("dir")) dir = "bench/out"
csv = dir . "/rows.csv"
set datafile separator ","
# suite,row,metric,side,name,rounds,median,ratio,ratio_low,ratio_high,mark,best_peer
count(condition) = int(system("awk -F, '" . condition . " {n++} END {print n+0}' '" . csv . "'"))
words_of(condition, word) = system("awk -F, '" . condition . " {w=" . word . \
                                   "; if (!s[w]++) printf \"%s \", w}' '" . csv . "'")
set style fill solid 0.8 border -1
set grid lt 1 lc rgb "#cccccc"

# ---- throughput beside peers: a bar for each row with a rate, from 1 to the ratio ----
rated = "$3==\"per_s\" && $12==1"
n = count(rated)
if (n > 0) {
  bars = "< awk -F, '" . rated . " {print ++n \",\" $1 \" \" $2 \" / \" $5 \",\" $8 \",\" $9 \",\" " . \
         "$10}' '" . csv . "'"
  set terminal pngcairo size 1100, 110 + 22 * n font "sans,10"
  set output dir . "/throughput.png"
  set title "How many times the rate of the best peer (with quartiles; above 1: ours is faster)"
  unset key
  set logscale x 2
  set yrange [-n - 0.7:-0.3]
  set ytics noenhanced scale 0
  set arrow 1 from 1, graph 0 to 1, graph 1 nohead lw 2
  plot bars using (1):(-$1):ytic(2) with dots lc rgb "white", \
       bars using 3:(-$1):($3 < 1 ? $3 : 1):($3 < 1 ? 1 : $3):(-$1 - 0.35):(-$1 + 0.35): \
         ($3 < 1 ? 0xd9704a : 0x4a90d9) with boxxyerror lc rgb variable, \
       bars using 3:(-$1):4:5 with xerrorbars pt 0 lw 1.5 lc rgb "black"
  unset output
  unset arrow 1
  unset logscale
  set yrange [*:*]
  set ytics auto
}

# ---- tail against load: p99 of reads at fixed rates ----
at_rate = "$2 ~ /^get_at_/ && $3==\"p99_us\""
servers = words_of(at_rate, "$5")
if (words(servers) > 0) {
  tail(name, metric) = "< awk -F, '$2 ~ /^get_at_/ && $3==\"" . metric . "\" && $5==\"" . name . \
               "\" {split($2, w, \"_\"); print w[3] \",\" $7}' '" . csv . "' | sort -t, -k1,1n"
  set terminal pngcairo size 900, 520 font "sans,11"
  set output dir . "/tail.png"
  set title "Reads at a fixed rate over 64 connections: latency from the time a request was due"
  set key top left
  set logscale xy
  set xlabel "requests per second"
  set ylabel "microseconds"
  set format x "%.0s%c"
  plot for [i=1:words(servers)] tail(word(servers, i), "p99_us") using 1:2 with linespoints lw 2 \
         pt 7 lc i title word(servers, i) . " p99" noenhanced, \
       for [i=1:words(servers)] tail(word(servers, i), "p999_us") using 1:2 with linespoints lw 1 \
         dt 2 pt 6 lc i title word(servers, i) . " p99.9" noenhanced
  unset output
  unset logscale
  unset format
}

# ---- write amplification ----
written = "$2==\"write_amplification\" && $3==\"disk_per_user_byte\""
if (count(written) > 0) {
  boxes = "< awk -F, '" . written . " {print n++ \",\" $5 \",\" $7}' '" . csv . "'"
  set terminal pngcairo size 640, 420 font "sans,11"
  set output dir . "/write_amplification.png"
  set title "Random overwrites: bytes written to the disk for each byte of key and value"
  unset key
  unset xlabel
  set ylabel "bytes"
  set yrange [0:*]
  set boxwidth 0.6
  set offsets 0.5, 0.5, graph 0.1, 0
  plot boxes using 1:3:xtic(2) with boxes lc rgb "#4a90d9", \
       boxes using 1:3:(sprintf("%.1f", $3)) with labels offset 0, 0.7
  unset output
  set offsets
  set yrange [*:*]
  set xtics auto
}

# ---- index against B-tree ----
looked_up = "$1==\"index\" && $3==\"hit_ns\" && $5==\"btree\""
dists = words_of(looked_up, "substr($2, 1, index($2, \"_\") - 1)")
if (words(dists) > 0) {
  pages = words_of(looked_up, "substr($2, match($2, /_[^_]*$/) + 1)")
  page = words(pages) > 1 ? "huge" : word(pages, 1)
  of(dist, name, field) = "< awk -F, '$1==\"index\" && $3==\"hit_ns\" && $5==\"" . name . "\" " . \
      "{split($2, w, \"_\"); if (w[1]==\"" . dist . "\" && w[3]==\"" . page . "\") print w[2] " . \
      "\",\" " . field . "}' '" . csv . "' | sort -t, -k1,1n"
  set terminal pngcairo size 1400, 560 font "sans,11"
  set output dir . "/index.png"
  set multiplot layout 1,2 title "Independent lookups that hit (" . page . " pages)"
  set key top left
  set logscale x
  set format x "%.0s%c"
  set xlabel "keys"
  set title "time of a lookup"
  set logscale y
  set ylabel "ns"
  plot for [i=1:words(dists)] of(word(dists, i), "rmi", "$7") using 1:2 with linespoints lw 2 pt 7 \
         lc i title word(dists, i) . " learned index", \
       for [i=1:words(dists)] of(word(dists, i), "btree", "$7") using 1:2 with linespoints lw 1 \
         dt 2 pt 6 lc i title word(dists, i) . " absl::btree\\_map"
  unset logscale y
  set yrange [0:*]
  set title "how many times faster than absl::btree\\_map"
  set ylabel "B-tree time / learned index time"
  plot for [i=1:words(dists)] of(word(dists, i), "btree", "$8 \",\" $9 \",\" $10") \
         using 1:2:3:4 with yerrorlines lw 2 pt 7 lc i title word(dists, i)
  unset multiplot
  unset output
  unset logscale
  unset format
  set yrange [*:*]
}

# ---- throughput and latency over the size of the data ----
sized = "$2 ~ /^get(_cold)?_of_/ && $3==\"per_s\""
kinds = words_of(sized, "($2 ~ /cold/ ? \"cold\" : \"warm\")")
if (words(kinds) > 0) {
  size(kind, metric) = "< awk -F, '$3==\"" . metric . "\" && $2 ~ /^get" . \
      (kind eq "cold" ? "_cold" : "") . "_of_/ {match($2, /_of_[0-9]+/); print substr($2, " . \
      "RSTART + 4, RLENGTH - 4) \",\" $7}' '" . csv . "' | sort -t, -k1,1n"
  set terminal pngcairo size 1200, 520 font "sans,11"
  set output dir . "/sizes.png"
  set multiplot layout 1,2 title "get\\_fast, 64 connections, uniform keys, 64-byte values"
  set logscale x
  set format x "%.0s%c"
  set xlabel "keys"
  set yrange [0:*]
  set key bottom left
  set title "throughput"
  set ylabel "requests per second"
  plot for [i=1:words(kinds)] size(word(kinds, i), "per_s") using 1:2 with linespoints lw 2 pt 7 \
         lc i title word(kinds, i)
  set title "latency"
  set ylabel "microseconds"
  plot for [i=1:words(kinds)] size(word(kinds, i), "p99_us") using 1:2 with linespoints lw 2 pt 7 \
         lc i title word(kinds, i) . " p99", \
       for [i=1:words(kinds)] size(word(kinds, i), "p999_us") using 1:2 with linespoints lw 2 dt 2 \
         pt 6 lc i title word(kinds, i) . " p99.9"
  unset multiplot
  unset output
}
