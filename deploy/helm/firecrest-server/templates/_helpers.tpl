{{- define "firecrest.selector" -}}
app.kubernetes.io/name: firecrest-server
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "firecrest.labels" -}}
{{ include "firecrest.selector" . }}
app.kubernetes.io/version: {{ .Values.image.tag | default .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end }}

{{- define "firecrest.config" -}}
{{- $server := dict "host" "0.0.0.0" "port" 8000 "drain" .Values.drain "shutdown_grace" .Values.shutdownGrace }}
{{- mergeOverwrite (deepCopy .Values.config) (dict "server" $server) | toYaml }}
{{- end }}
