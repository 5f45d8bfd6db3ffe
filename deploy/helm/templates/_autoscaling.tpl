{{/* How much waits for a component, as PromQL. Every HAE pod measures the same streams, so the largest answer is the answer.
     Takes [root, component]. */}}
{{- define "hiper.scalingQuery" -}}
{{- $root := index . 0 -}}
{{- $name := index . 1 -}}
{{- $stream := get (dict "rollout" "tasks" "reward" "traj.raw" "hae" "traj.scored") $name -}}
{{- if $stream -}}
max(hiper_stream_length_entries{namespace="{{ $root.Release.Namespace }}",run="{{ include "hiper.run" $root }}",stream="{{ $stream }}"})
{{- else -}}
sum(hiper_env_sessions{namespace="{{ $root.Release.Namespace }}",run="{{ include "hiper.run" $root }}",env="{{ (include "hiper.envFamily" (list $root (trimPrefix "env-" $name)) | fromYaml).name }}"})
{{- end -}}
{{- end -}}

{{/* Units of it one pod is good for. */}}
{{- define "hiper.scalingThreshold" -}}
{{- $root := index . 0 -}}
{{- $name := index . 1 -}}
{{- if eq $name "rollout" }}{{ include "hiper.episodesPerPod" $root -}}
{{- else if eq $name "reward" }}64{{- else if eq $name "hae" }}2{{- else }}256{{ end -}}
{{- end -}}

{{- define "hiper.episodesPerPod" -}}
{{- dig "rollout" "concurrent_episodes" 128 (include "hiper.givenConfig" . | fromYaml) -}}
{{- end -}}
